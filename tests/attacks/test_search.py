"""The search among backward passes, on networks that hide their gradient and on honest ones."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advrob.attacks import Task
from advrob.attacks.apgd import AutoPGD
from advrob.attacks.backward import (
    FLAT,
    _ThroughSteps,
    answers_nearby,
    backward_passes,
    convolution,
)
from advrob.attacks.bounds import Ball
from advrob.attacks.expectation import Expectation
from advrob.attacks.losses import margin
from advrob.attacks.search import BackwardSearch, Best
from advrob.defences import Defence
from advrob.defences.noise import UniformNoise
from advrob.defences.none import Identity
from advrob.evaluation.calibration import LinearNetwork, calibrate
from advrob.evaluation.twins import TWINS
from advrob.images.pixels import to_tensor
from advrob.job.compute import generator
from advrob.networks import Network

RADIUS = 12


def linear(grid: int) -> LinearNetwork:
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(5, 3, grid, grid, generator=draw)
    return LinearNetwork(weights, 0.1 * torch.randn(5, generator=draw))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    drawn = np.random.default_rng(0).integers(-40, 296, (24, 16, 16, 3))
    return drawn.clip(0, 255).astype(np.uint8)


def answers(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images).argmax(dim=1)


def search(norm: str = "linf", radius: float = RADIUS, queries: int = 64) -> BackwardSearch:
    return BackwardSearch(norm=norm, radius=radius, iterations=20, queries=queries)


def gaps(network: nn.Module, honest: nn.Module, pixels: np.ndarray, norm: str, radius: float):
    """How far search and Auto-PGD are above the truth, on images of which all are right."""
    attacks = {
        "search": lambda radius: search(norm, radius),
        "apgd": lambda radius: AutoPGD(norm=norm, radius=radius, iterations=20),
    }
    labels = answers(honest, to_tensor(pixels)).numpy()
    records = calibrate(
        *(network, pixels, labels, attacks, [radius]),
        norm=norm,
        generator=generator(1),
        honest=honest,
    )
    assert not any(record.violated or record.outside for record in records)
    return {record.attack: record.gap for record in records}


# Decisions alone take more queries.
NEAR = ["honest", *(name for name in TWINS if name not in ("log_saturated", "one_hot"))]
# Those that draw take long.
L2 = [name for name in NEAR if name not in ("noise", "crops")]


@pytest.mark.parametrize(
    ("name", "norm", "radius"),
    [*((name, "linf", RADIUS) for name in NEAR), *((name, "l2", 80) for name in L2)],
)
def test_it_comes_as_near_to_the_truth_on_a_twin_as_on_the_honest_network(
    pixels, name, norm, radius
):
    honest = linear(4)
    twin = honest if name == "honest" else TWINS[name](honest, generator(2)).eval()
    gap = gaps(twin, honest, pixels, norm, radius)
    assert gap["search"] <= 0.05
    if name in ("rounding", "surrogate", "detached", "random_signs", "plateau", "decoy"):
        assert gap["apgd"] > 0.1


@pytest.mark.parametrize("name", ["rounding", "detached", "plateau", "inner_optimisation", "decoy"])
def test_steps_are_passed_straight_through_whatever_the_structure(pixels, name):
    """No linear surrogate of 4 x 4 tiles has the gradient of every pixel."""
    honest = linear(16)
    gap = gaps(TWINS[name](honest, generator(2)).eval(), honest, pixels, "linf", 3)
    assert gap["search"] <= 0.05
    assert gap["apgd"] > 0.1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_honest_network_is_no_more_robust_than_under_auto_pgd(pixels, norm):
    draw = torch.Generator().manual_seed(2)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14**2, 5))
    with torch.no_grad():
        for values in network.parameters():
            width = values[0].numel()
            values.copy_(torch.randn(values.shape, generator=draw) / width**0.5)
    network.eval().requires_grad_(False)
    images = to_tensor(pixels)
    labels = answers(network, images)
    for radius in (1, 2, 4) if norm == "linf" else (20, 40, 80):
        plain = AutoPGD(norm=norm, radius=radius, iterations=8)
        ours = BackwardSearch(norm=norm, radius=radius, iterations=8, queries=16)
        held, left = (
            answers(network, attack(network, images, labels, generator=generator(3))) == labels
            for attack in (plain, ours)
        )
        assert (left <= held).all()


class Outside(Defence):
    """A defence that is computed outside of PyTorch."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self.changed(images.detach().numpy()))

    def changed(self, images: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class Coarse(Outside):
    """Rounds to eight levels."""

    def changed(self, images: np.ndarray) -> np.ndarray:
        return (images * 7).round() / 7


class Negative(Outside):
    """Gives the negative, whose gradient is minus the identity's."""

    def changed(self, images: np.ndarray) -> np.ndarray:
        return 1 - images


class Mirrored(Outside):
    """Mirrors the image, which no small convolution does."""

    def changed(self, images: np.ndarray) -> np.ndarray:
        return images[..., ::-1].copy()


# On linear networks some are as good as others.
AROUND = {
    "straight through the defence",
    "without the defence",
    "surrogate of the defence",
    "transfer from the model",
}
SURROGATES = {"surrogate of the network", "surrogate of decisions"}


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (Network(Coarse(), linear(16)), AROUND),
        (Network(Negative(), linear(16)), {"surrogate of the defence"}),
        (Network(Mirrored(), linear(4)), SURROGATES),
        (TWINS["plateau"](linear(16), generator(2)), {"straight through rounding"}),
        (linear(16), {"exact", "straight through rounding"}),
    ],
    ids=["rounding", "negative", "mirrored", "plateau", "honest"],
)
def test_halving_finds_the_backward_pass_that_is_right(pixels, network, expected, capsys):
    images = to_tensor(pixels)
    labels = answers(network, images)
    best = Best(Task(network, images, labels, generator(1), surplus=torch.inf))
    strongest = search(radius=2).strongest(best, torch.arange(24))
    assert strongest.name in expected
    assert f"8 images: {strongest.name} " in capsys.readouterr().out.splitlines()[-1]
    assert (best.margins >= margin(network(images), labels)).all()


def test_what_is_tried_depends_on_what_is_known(pixels):
    images = to_tensor(pixels)

    def names(network: nn.Module) -> list[str]:
        candidates = backward_passes(network, images, queries=64, generator=generator(0))
        return [each.name for each in candidates]

    plain = names(linear(4))
    assert names(Network(Identity(), linear(4))) == plain
    assert {"straight through the defence", "transfer from the model"} < {
        *names(Network(Coarse(), linear(4)))
    }
    noise = UniformNoise(minimum=-20, maximum=20)
    noise.generator = generator(0)
    assert "12 draws" in names(Expectation(Network(noise, linear(4)), 3))


def test_the_surrogate_of_a_linear_network_has_its_gradient(pixels):
    network, images = linear(4), to_tensor(pixels)[:3]
    # Where all changes are inside [0, 1].
    ball = Ball(0.25 + images / 2, "linf", 8)
    added, middle = answers_nearby(network, ball, 8, 64, generator(0))
    torch.testing.assert_close(middle(ball.originals), network(ball.originals), atol=1e-4, rtol=0)
    moved = ball.random(generator(1))[[2, 0, 1]]
    expected = network(moved) - network(ball.originals[[2, 0, 1]])
    torch.testing.assert_close(added(moved), expected, atol=1e-4, rtol=0)


def test_a_convolution_learns_what_a_defence_does(pixels):
    ball = Ball(to_tensor(pixels), "linf", 8)
    learned = convolution(Negative(), ball, generator(0))
    seen = ball.originals.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(learned(seen)[:, 1, 8, 8].sum(), seen)
    expected = torch.zeros(24, 3, 16, 16)
    expected[:, 1, 8, 8] = -1
    torch.testing.assert_close(gradient, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", sorted(FLAT))
def test_flat_functions_lead_back(name):
    values = torch.tensor([-0.7, 0.2, 1.6])
    arguments = (0, 1) if name in ("clamp", "clip") else ()
    expected = getattr(values, name)(*arguments)
    for called in (name, f"{name}_"):
        probed = values.clone().requires_grad_()
        with _ThroughSteps():
            result = getattr(probed * 1, called)(*arguments)
        (gradient,) = torch.autograd.grad(result.sum(), probed)
        assert result.equal(expected)
        assert gradient.equal(torch.ones(3))
