"""Untargeted attacks: against closed forms, torchattacks, and the bounds of what is stored."""

import numpy as np
import pytest
import torch
import torchattacks
from torch import Tensor, nn

from advrob import attacks
from advrob.attacks.auto_attack import AutoAttack
from advrob.attacks.bounds import Ball
from advrob.attacks.expectation import Expectation
from advrob.attacks.losses import cross_entropy, difference_of_logits_ratio, margin, targeted_ratio
from advrob.errors import UserError
from advrob.images.pixels import to_tensor
from advrob.job.compute import generator
from random_networks import extreme_images, random_network

CLASSES = 10
SIZE = 16


@pytest.fixture
def network() -> nn.Module:
    """A small network of random weights, whose predictions serve as labels."""
    return random_network(CLASSES)


@pytest.fixture
def images() -> Tensor:
    return extreme_images(40, SIZE)


@pytest.fixture
def labels(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images).argmax(dim=1)


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return (network(images).argmax(dim=1) == labels).float().mean().item()


ATTACKS = {
    "pgd": {"iterations": 20},
    "apgd_ce": {"iterations": 20, "loss": "cross_entropy"},
    "apgd_margin": {"iterations": 20, "loss": "margin"},
    "apgd_dlr": {"iterations": 20, "loss": "logits_ratio"},
    "apgd_t": {"iterations": 20},
    "fab": {"iterations": 20},
    "square": {"queries": 100},
}
APGD = {"apgd_ce", "apgd_margin", "apgd_dlr"}
CASES = [(name, norm) for name in ATTACKS for norm in ("linf", "l2")]


def run(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    name: str,
    norm: str,
    radius: float,
    surplus: float = 0.0,
) -> Tensor:
    options: dict = {"norm": norm, "radius": radius, **ATTACKS[name]}
    if name == "pgd":
        options["step"] = radius / 4
    kind = "apgd" if name in APGD else name
    attack = attacks.build(kind, options)
    return attack(network, images, labels, generator=generator(0), surplus=surplus)


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_the_network_is_fooled(network, images, labels, name, norm):
    adversarial = run(network, images, labels, name, norm, 24 if norm == "linf" else 500)
    assert accuracy(network, adversarial, labels) < (0.5 if name == "square" else 0.2)


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_a_surplus_is_reached(network, images, labels, name, norm):
    radius = 60 if norm == "linf" else 1000
    with torch.no_grad():
        plain = margin(network(run(network, images, labels, name, norm, radius)), labels)
        sure = margin(network(run(network, images, labels, name, norm, radius, 0.3)), labels)
    assert (sure >= 0.3).float().mean() > 0.7
    # FAB stops wherever it is inside.
    assert name == "fab" or plain.mean() < sure.mean()


class Linear(nn.Module):
    """Two classes, a margin that is linear in the pixels."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, images: Tensor) -> Tensor:
        score = images.flatten(1) @ self.weight.flatten()
        # A third class that never matters: the ratio of logits needs three.
        return torch.stack([score, -score, torch.full_like(score, -1e3)], dim=1)


@pytest.mark.parametrize("name", ["pgd", "apgd_ce", "apgd_margin", "apgd_dlr"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_linear_network_loses_as_much_as_it_can(name, norm):
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 8, 8, generator=draw)
    images = to_tensor(np.full((4, 8, 8, 3), 128, np.uint8))
    network = Linear(weight)
    radius = 6.0 if norm == "linf" else 80.0
    labels = network(images).argmax(dim=1)
    sign = 1 - 2 * labels[0].float()
    # Nothing is far enough from a border of [0, 1] or from a fooled network to be cut short.
    adversarial = run(network, images, labels, name, norm, radius, surplus=1e6)
    reached = margin(network(adversarial), labels)
    dual = weight.abs().sum() if norm == "linf" else weight.norm()
    best = margin(network(images), labels) + 2 * dual * radius / 255
    assert sign in (1, -1)
    assert (reached <= best + 1e-4).all()
    assert (reached > best - (1e-4 if norm == "linf" else 0.05 * 2 * dual * radius / 255)).all()


@pytest.mark.parametrize("loss", ["ce", "dlr"])
@pytest.mark.parametrize(("norm", "radius"), [("Linf", 5), ("L2", 100)])
def test_is_as_strong_as_torchattacks_apgd(network, images, labels, loss, norm, radius):
    theirs = torchattacks.APGD(network, norm=norm, eps=radius / 255, steps=20, loss=loss)(
        images, labels
    )
    name = {"ce": "apgd_ce", "dlr": "apgd_dlr"}[loss]
    ours = run(network, images, labels, name, norm.lower(), radius)
    expected = accuracy(network, theirs, labels)
    assert 0.05 < expected < 0.95
    assert accuracy(network, ours, labels) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(("norm", "radius"), [("Linf", 5), ("L2", 100)])
def test_is_as_strong_as_torchattacks_targeted_apgd(network, images, labels, norm, radius):
    theirs = torchattacks.APGDT(network, norm=norm, eps=radius / 255, steps=20, n_classes=CLASSES)(
        images, labels
    )
    ours = run(network, images, labels, "apgd_t", norm.lower(), radius)
    expected = accuracy(network, theirs, labels)
    assert 0.05 < expected < 0.95
    assert accuracy(network, ours, labels) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(("norm", "radius"), [("Linf", 5), ("L2", 100)])
def test_is_as_strong_as_torchattacks_fab(network, images, labels, norm, radius):
    theirs = torchattacks.FAB(
        network, norm=norm, eps=radius / 255, steps=20, multi_targeted=True, n_classes=CLASSES
    )(images.contiguous(), labels)
    ours = run(network, images, labels, "fab", norm.lower(), radius)
    expected = accuracy(network, theirs, labels)
    assert 0.05 < expected < 0.95
    assert accuracy(network, ours, labels) == pytest.approx(expected, abs=0.1)


def test_saturated_logits_hide_their_gradient_from_the_cross_entropy_alone(images):
    draw = torch.Generator().manual_seed(0)
    layer = nn.Linear(3 * SIZE * SIZE, CLASSES)
    layer.weight.data = torch.randn(layer.weight.shape, generator=draw)

    class Certain(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return 1e5 * layer(images.flatten(1))

    labels = layer(images.flatten(1)).argmax(dim=1)
    left = {
        name: accuracy(Certain(), run(Certain(), images, labels, name, "linf", 8), labels)
        for name in ("apgd_ce", "apgd_margin", "apgd_dlr", "apgd_t", "fab")
    }
    assert left["apgd_ce"] > 0.8
    assert max(left[name] for name in left if name != "apgd_ce") < 0.2


def test_ratios_refuse_too_few_classes(images, labels):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 2))
    predicted = network(images).argmax(dim=1)
    with pytest.raises(UserError, match="needs at least 3 classes, the network has 2"):
        run(network, images, predicted, "apgd_dlr", "linf", 4)
    with pytest.raises(UserError, match="needs at least 4 classes"):
        run(network, images, predicted, "apgd_t", "linf", 4)


@pytest.mark.parametrize(("norm", "radius"), [("Linf", 8), ("L2", 250)])
def test_is_as_strong_as_torchattacks_square(network, images, labels, norm, radius):
    theirs = torchattacks.Square(network, norm=norm, eps=radius / 255, n_queries=100)(
        images.contiguous(), labels
    )
    ours = run(network, images, labels, "square", norm.lower(), radius)
    expected = accuracy(network, theirs, labels)
    assert 0.05 < expected < 0.95
    assert accuracy(network, ours, labels) == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize(("norm", "radius"), [("linf", 4), ("l2", 80)])
def test_auto_attack_is_as_strong_as_torchattacks_and_as_its_parts(
    network, images, labels, norm, radius
):
    theirs = torchattacks.MultiAttack(
        [
            attack(network, norm=norm.capitalize(), eps=radius / 255, **options)
            for attack, options in [
                (torchattacks.APGD, {"steps": 20}),
                (torchattacks.APGDT, {"steps": 20, "n_classes": CLASSES}),
                (torchattacks.FAB, {"steps": 20, "multi_targeted": True, "n_classes": CLASSES}),
                (torchattacks.Square, {"n_queries": 100}),
            ]
        ]
    )(images.contiguous(), labels)
    expected = accuracy(network, theirs, labels)
    assert 0.05 < expected < 0.95
    attack = AutoAttack(norm=norm, radius=radius, iterations=20, queries=100, restarts=2)
    adversarial = attack(network, images, labels, generator=generator(0))
    left = accuracy(network, adversarial, labels)
    assert left == pytest.approx(expected, abs=0.05)
    parts = [type(part) for part in attack.parts()]
    assert parts == sorted(parts, key=parts.index)
    assert len(parts) == 8
    for part in attack.parts():
        alone = part(network, images, labels, generator=generator(0))
        assert left <= accuracy(network, alone, labels) + 0.03


def test_parts_of_auto_attack_see_only_images_that_hold(network, images, labels):
    """An image that the first part fools is in no later pass."""
    seen = []
    network.register_forward_pre_hook(lambda _, arguments: seen.append(len(arguments[0])))
    attack = AutoAttack(norm="linf", radius=200, iterations=10, queries=50)
    attack(network, images, labels, generator=generator(0))
    assert seen[0] == len(images)
    assert sum(seen) < 30 * len(images)


def test_losses_in_numbers():
    logits = torch.tensor([[3.0, 1.0, 0.0, -2.0], [3.0, 1.0, 0.0, -2.0]])
    labels = torch.tensor([0, 2])
    torch.testing.assert_close(margin(logits, labels), torch.tensor([-2.0, 3.0]))
    expected = torch.tensor([-2 / 3, 3 / 3])
    torch.testing.assert_close(difference_of_logits_ratio(logits, labels), expected)
    torch.testing.assert_close(
        targeted_ratio(logits, labels, torch.tensor([1, 3])), torch.tensor([-2 / 4, -2 / 4])
    )
    scaled = difference_of_logits_ratio(5 * logits - 7, labels)
    torch.testing.assert_close(scaled, expected)
    torch.testing.assert_close(
        cross_entropy(logits, labels), -logits.log_softmax(1)[[0, 1], [0, 2]]
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projection_is_idempotent_and_inside(images, norm):
    ball = Ball(images, norm, 7.3)
    far = images + torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    inside = ball.project(far)
    torch.testing.assert_close(ball.project(inside), inside)
    order = {"linf": float("inf"), "l2": 2}[norm]
    moves = (inside - images).flatten(1)
    assert (255 * torch.linalg.vector_norm(moves, order, dim=1)).max() <= 7.3 + 1e-3
    random = (ball.random(generator(1)) - images).flatten(1)
    assert 3 < (255 * torch.linalg.vector_norm(random, order, dim=1)).max() <= 7.3 + 1e-3


class Flip(nn.Module):
    """Adds noise that no single draw reveals the mean of."""

    def __init__(self) -> None:
        super().__init__()
        self.draw = torch.Generator().manual_seed(5)

    def forward(self, images: Tensor) -> Tensor:
        means = images.flatten(1).mean(dim=1)
        noise = torch.randn(len(images), generator=self.draw)
        return torch.stack([means + noise, torch.zeros_like(means)], dim=1)


def test_expectation_is_the_mean_of_probabilities():
    images = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logarithms = Expectation(Flip(), 4000)(images)
    torch.testing.assert_close(logarithms.exp().sum(dim=1), torch.ones(3))
    single = Flip()(images.repeat_interleave(4000, dim=0)).softmax(dim=1)
    expected = single.unflatten(0, (3, 4000)).mean(dim=1)
    torch.testing.assert_close(logarithms.exp(), expected)
    ours = torch.autograd.grad(logarithms[:, 0].exp().sum(), images, retain_graph=True)[0]
    theirs = torch.autograd.grad(expected[:, 0].sum(), images)[0]
    torch.testing.assert_close(ours, theirs)
