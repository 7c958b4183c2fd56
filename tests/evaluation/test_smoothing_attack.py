"""Attacks on smoothed networks: what they reach is known for a linear one."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
import torch
from torch import nn

from advrob import defences
from advrob.errors import UserError
from advrob.evaluation import smoothing_attack
from advrob.evaluation.certified import certificate_arrays
from advrob.evaluation.samples import Sample
from advrob.evaluation.smoothing import ABSTAINED, Certificate, certificates
from advrob.evaluation.smoothing_attack import attack_smoothed, broken_certificates, holding
from advrob.files.rows import ImageRows
from advrob.images.pixels import to_tensor
from advrob.job.compute import Job, generator
from advrob.networks import Network

CPU = torch.device("cpu")
SIZE = 8
SIGMA = 20.0
ATTACK = {"sigma": SIGMA, "iterations": 8, "draws": 16}
CHECK = {"checks": 400, "batch_size": 100, "device": CPU}


class Linear(nn.Module):
    """Two classes on the sides of a hyperplane through an image at a known l_2 distance."""

    def __init__(self, image, distance):
        super().__init__()
        normal = torch.randn(3, SIZE, SIZE, generator=generator(0, "normal"))
        self.normal = normal / normal.norm()
        self.offset = distance / 255 - (self.normal * image).sum()

    def forward(self, images):
        side = 20 * ((self.normal * images).sum((1, 2, 3)) + self.offset)
        return torch.stack((-side, side), dim=1)


@pytest.fixture
def pictures():
    """Away from black and white, so that the ball is whole."""
    return np.random.default_rng(0).integers(90, 166, (5, SIZE, SIZE, 3), dtype=np.uint8)


def test_the_attack_on_a_linear_network_goes_straight_to_the_border(pictures):
    images = to_tensor(pictures)
    network = Linear(images[0], 30.0)
    radii = torch.tensor([5.0, 10.0, 20.0, 40.0, 0.0])
    labels = torch.ones(5, dtype=torch.int64)
    attacked = attack_smoothed(
        network, images, labels, radii=radii, generator=generator(0), **ATTACK
    )
    moves = (attacked - images) * 255
    torch.testing.assert_close(moves.flatten(1).norm(dim=1), radii, rtol=1e-3, atol=1e-3)
    along = (moves * network.normal).sum((1, 2, 3))
    torch.testing.assert_close(along, -radii, rtol=1e-3, atol=1e-3)


def test_the_gradient_is_that_of_the_mean_probability_over_the_same_noise(pictures):
    """One step goes along it, whatever the network."""
    images = to_tensor(pictures[:2])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    labels = torch.tensor([0, 2])
    attacked = attack_smoothed(
        network,
        images,
        labels,
        sigma=SIGMA,
        radii=torch.full((2,), 30.0),
        iterations=2,
        draws=4,
        generator=generator(0, "noise"),
    )
    noise = torch.randn(4, 3, SIZE, SIZE, generator=generator(0, "noise")) * SIGMA / 255

    def loss(at):
        mean = torch.stack([network(at + each).softmax(dim=1) for each in noise]).mean(dim=0)
        return -mean.gather(1, labels[:, None]).log()[:, 0]

    at, path = images, [images]
    for _ in range(2):
        at = at.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(at).sum(), at)
        moves = (
            at + 30 / 255 * gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1) - images
        )
        length = moves.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        at = images + moves * (30 / 255 / length).clamp(max=1)
        path.append(at)
    losses = torch.stack([loss(each) for each in path])
    expected = torch.stack([path[losses[:, i].argmax()][i] for i in range(2)])
    torch.testing.assert_close(attacked, expected, rtol=0, atol=1e-4)


def certify(network, pictures, checkpoint):
    (row,) = certificates(
        network,
        pictures,
        sigmas=[SIGMA],
        draws=500,
        batch_size=100,
        device=CPU,
        generator=lambda row, number: generator(0, "certify", number),
        checkpoint=checkpoint,
    )
    return row


def broken(network, pictures, claimed, checkpoint):
    return broken_certificates(
        network,
        pictures,
        claimed,
        generator=lambda number: generator(0, "attack", number),
        checkpoint=checkpoint,
        **ATTACK,
        **CHECK,
    )


def test_no_certificate_breaks_and_false_ones_do(tmp_path, pictures):
    """A linear network has no more probability than its certificate says: the hardest case."""
    network = Linear(to_tensor(pictures[:1])[0], 25.0)
    true = certify(network, pictures, tmp_path / "checkpoint")
    assert true[0].predicted == 1
    assert broken(network, pictures, true, tmp_path / "true") == []
    side = (network(to_tensor(pictures))[:, 1] / 20 * 255).tolist()
    false = [
        replace(each, predicted=int(distance > 0), radius=abs(distance) + SIGMA)
        for each, distance in zip(true, side, strict=True)
    ]
    assert broken(network, pictures, false, tmp_path / "false") == [0, 1, 2, 3, 4]
    # The other class, at the image itself; and nothing is claimed after abstention.
    wrong = [Certificate(0, 0.1, 500, 500), *[Certificate(ABSTAINED, 0.0, 0, 500)] * 4]
    assert broken(network, pictures, wrong, tmp_path / "wrong") == [0]


def cut_at(monkeypatch, name: str, call: int) -> list[int]:
    """Interrupt a call of a function of the module; one entry is appended for each call."""
    original, calls = getattr(smoothing_attack, name), []

    def cut(*arguments, **options):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(smoothing_attack, name, cut)
    return calls


def test_attacks_on_certificates_resume_where_they_were_cut(tmp_path, pictures, monkeypatch):
    network = Linear(to_tensor(pictures[:1])[0], 25.0)
    false = [Certificate(0, 30.0, 500, 500), *[Certificate(1, 30.0, 500, 500)] * 4]
    whole = broken(network, pictures, false, tmp_path / "whole")
    calls = cut_at(monkeypatch, "attack_smoothed", 3)
    with pytest.raises(KeyboardInterrupt):
        broken(network, pictures, false, tmp_path / "cut")
    assert 0 in whole
    assert broken(network, pictures, false, tmp_path / "cut") == whole
    assert len(calls) == 3 + 3


def test_no_certificate_of_a_network_behind_a_stochastic_defence_breaks(tmp_path, pictures):
    noise = defences.build("noise", {"minimum": -20, "maximum": 20})
    network = Network(noise, Linear(to_tensor(pictures[:1])[0], 25.0))
    claimed = certify(network, pictures, tmp_path / "checkpoint")
    assert any(each.radius > 5 for each in claimed)
    assert broken(network, pictures, claimed, tmp_path / "attacks") == []


def held(network, pictures, checkpoint, radii=(0, 10, 20, 40)):
    return holding(
        network,
        pictures,
        np.ones(len(pictures), np.int64),
        radii=radii,
        generator=lambda row, start: generator(0, "hold", row, start),
        checkpoint=checkpoint,
        **ATTACK,
        **CHECK,
    )


def test_images_hold_up_to_their_distance_from_the_border(tmp_path, pictures):
    network = Linear(to_tensor(pictures[:1])[0], 30.0)
    distances = (network(to_tensor(pictures))[:, 1] / 20 * 255).numpy()
    correct = held(network, pictures, tmp_path / "checkpoint")
    assert correct.shape == (4, 5)
    # A majority of 400 votes is right but for images within a fraction of sigma of the border.
    for row, radius in enumerate((0, 10, 20, 40)):
        far = abs(distances - radius) > 0.2 * SIGMA
        np.testing.assert_array_equal(correct[row][far], (distances > radius)[far])
    assert correct[2, 0]
    assert not correct[3, 0]
    # Where a certificate reaches, the image holds.
    claimed = certify(network, pictures, tmp_path / "certified")
    for number, each in enumerate(claimed):
        if each.predicted == 1:
            assert correct[np.array((0, 10, 20, 40)) < each.radius, number].all()


def test_what_holds_resumes_where_it_was_cut(tmp_path, pictures, monkeypatch):
    network = Linear(to_tensor(pictures[:1])[0], 15.0)
    monkeypatch.setitem(CHECK, "batch_size", 32)
    whole = held(network, pictures, tmp_path / "whole")
    calls = cut_at(monkeypatch, "votes", 5)
    with pytest.raises(KeyboardInterrupt):
        held(network, pictures, tmp_path / "cut")
    np.testing.assert_array_equal(held(network, pictures, tmp_path / "cut"), whole)
    resumed = len(calls)
    calls.extend([1] * 5)
    held(network, pictures, tmp_path / "again")
    assert resumed == len(calls) - 5 - resumed + 1


def test_radii_ascend(tmp_path, pictures):
    with pytest.raises(UserError, match=r"found \[10, 0\], expected numbers in ascending"):
        held(nn.Flatten(), pictures, tmp_path / "checkpoint", radii=(10, 0))


def test_the_theorem_that_is_checked_is_tight_for_a_linear_network():
    """Distance R, moved by d: the probability is Phi((R - d) / sigma)."""
    image = torch.full((3, SIZE, SIZE), 0.5)
    network = Linear(image, 25.0)
    moved = image - 10 / 255 * network.normal
    noise = torch.randn(20_000, 3, SIZE, SIZE, generator=generator(0)) * SIGMA / 255
    share = (network(moved + noise).argmax(dim=1) == 1).float().mean().item()
    assert share == pytest.approx(NormalDist().cdf(15 / SIGMA), abs=0.02)


def test_a_file_of_certificates_has_the_attacks_that_are_configured(tmp_path, pictures):
    network = Linear(to_tensor(pictures[:1])[0], 30.0)
    numbers = np.arange(len(pictures))
    sample = Sample(
        numbers=numbers,
        ids=[f"image-{number}" for number in numbers],
        images=ImageRows(pictures, numbers),
        labels=np.ones(len(pictures), np.int64),
        classes=["zero", "one"],
    )
    experiment = {"sigmas": [SIGMA, 2 * SIGMA], "draws": 200, "radii": [20, 10]}

    def arrays(attack):
        return certificate_arrays(
            network,
            sample,
            experiment | {"attack": attack},
            job=Job(seed=0, device=CPU, batch_size=100),
            identity=("original", "linear", "none"),
            checkpoint=tmp_path / ".certified.h5.0.checkpoint",
        )

    alone = arrays(None)
    both = arrays({"iterations": 5, "draws": 4, "checks": 200})
    assert set(both) - set(alone) == {"attack_radii", "attacked", "broken"}
    assert all(np.array_equal(both[name], alone[name]) for name in alone)
    assert both["attack_radii"].tolist() == [0, 10, 20]
    assert both["attacked"].shape == (2, 3, 5)
    assert not both["broken"].any()
    # Whoever is certified to a radius holds within it, and some images are lost on the way.
    for row, radius in enumerate(both["attack_radii"]):
        certain = (both["predicted"] == 1) & (both["radius"] >= radius)
        assert (both["attacked"][:, row] >= certain).all()
    assert both["attacked"][:, 2].sum() < both["attacked"][:, 0].sum()


class NoiseMeter(defences.Defence):
    """Measures the noise in its images, by the strength that it expects."""

    def __init__(self):
        super().__init__()
        self.sigma, self.measured = 0.0, {}

    def expect(self, sigma):
        self.sigma = sigma

    def forward(self, images):
        self.measured.setdefault(self.sigma, []).append((images - 0.5).std().item() * 255)
        return images


def test_a_defence_expects_the_noise_of_certificates_and_of_attacks(tmp_path):
    grey = np.full((2, SIZE, SIZE, 3), 128, np.uint8)
    meter = NoiseMeter()
    sample = Sample(
        np.arange(2), ["a", "b"], ImageRows(grey, np.arange(2)), np.ones(2, np.int64), []
    )
    certificate_arrays(
        Network(meter, Linear(to_tensor(grey)[0], 90.0)),
        sample,
        {
            **{"sigmas": [10.0, 40.0], "draws": 100, "radii": [5]},
            "attack": {"iterations": 1, "draws": 4, "checks": 100},
        },
        job=Job(seed=0, device=CPU, batch_size=100),
        identity=("original", "linear", "meter"),
        checkpoint=tmp_path / ".certified.h5.0.checkpoint",
    )
    assert set(meter.measured) == {10, 40}
    for sigma, deviations in meter.measured.items():
        assert deviations == pytest.approx([sigma] * len(deviations), rel=0.35)
