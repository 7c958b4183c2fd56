"""HopSkipJump: against closed forms and foolbox, on networks of which it sees decisions alone."""

import foolbox
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advrob import attacks
from advrob.attacks.hop_skip_jump import estimate, estimates
from advrob.images.pixels import to_tensor
from advrob.job.compute import generator

WEIGHTS = torch.randn(4, 768, generator=torch.Generator().manual_seed(0)) / 4


class Linear(nn.Module):
    """Four classes; counts how often it is asked about an image."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def logits(self, images: Tensor) -> Tensor:
        return 10 * (images - 0.5).flatten(1) @ WEIGHTS.T

    def forward(self, images: Tensor) -> Tensor:
        self.asked += 1
        return self.logits(images)


class Decides(Linear):
    """Says a class and nothing else, without a gradient."""

    def forward(self, images: Tensor) -> Tensor:
        best = super().forward(images.detach()).argmax(dim=1)
        return nn.functional.one_hot(best, 4).float()


@pytest.fixture
def images() -> Tensor:
    levels = np.random.default_rng(3).integers(100, 156, (40, 16, 16, 3))
    return to_tensor(levels.astype(np.uint8)).contiguous()


@pytest.fixture
def labels(images: Tensor) -> Tensor:
    return Linear()(images).argmax(dim=1)


def exact(images: Tensor, labels: Tensor, norm: str) -> Tensor:
    """The distances to the nearest boundary, in units of 1/255."""
    logits = Linear()(images)
    gaps = logits.gather(1, labels[:, None]) - logits
    dual = torch.linalg.vector_norm(
        10 * (WEIGHTS[labels][:, None] - WEIGHTS), {"linf": 1, "l2": 2}[norm], dim=2
    )
    return (255 * gaps / dual).scatter(1, labels[:, None], torch.inf).amin(dim=1)


@pytest.mark.parametrize(("norm", "radius"), [("l2", 20.0), ("linf", 3.0)])
def test_decisions_alone_tell_what_it_needs(images, labels, norm, radius):
    """The logits change nothing, and what it finds is no nearer than anything can be."""
    results = []
    for network in (Linear(), Decides()):
        attack = attacks.build("hop_skip_jump", {"norm": norm, "radius": radius, "queries": 1500})
        results.append(attack(network, images, labels, generator=generator(0)))
        assert 500 < network.asked <= 1500
    assert torch.equal(*results)
    fooled = Linear()(results[0]).argmax(dim=1) != labels
    assert (exact(images, labels, norm)[fooled] <= radius).all()
    assert fooled.float().mean() > 0.3


@pytest.mark.parametrize(("norm", "radius"), [("l2", 20.0), ("linf", 3.0)])
def test_is_as_strong_as_foolbox(images, labels, norm, radius):
    constraint = {"l2": "l2", "linf": "linf"}[norm]
    theirs = foolbox.attacks.HopSkipJumpAttack(steps=8, gamma=100.0, constraint=constraint)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (foolbox draws from it)
    _, moved, _ = theirs(
        foolbox.PyTorchModel(Linear().eval(), (0, 1)), images, labels, epsilons=None
    )
    order = {"l2": 2, "linf": torch.inf}[norm]
    distances = 255 * torch.linalg.vector_norm((moved - images).flatten(1), order, dim=1)
    expected = (distances > radius).float().mean().item()
    network = Linear()
    attack = attacks.build("hop_skip_jump", {"norm": norm, "radius": radius, "queries": 2000})
    adversarial = attack(network, images, labels, generator=generator(0))
    accuracy = (Linear()(adversarial).argmax(dim=1) == labels).float().mean().item()
    assert accuracy < expected + 0.15


def test_the_direction_is_that_of_the_normal():
    normal = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    middle = torch.full((1, 3, 4, 4), 0.5)

    def wrong(asked: Tensor) -> Tensor:
        return ((asked - 0.5) * normal).flatten(1).sum(dim=1) > 0

    reach = torch.full((1, 1, 1, 1), 0.01)
    direction = estimate(wrong, middle, reach, 4000, "l2", generator(0))
    assert ((direction * normal).sum() / normal.norm()).item() > 0.95
    signs = estimate(wrong, middle, reach, 4000, "linf", generator(0))
    assert (signs == normal.sign()).float().mean() > 0.85


@pytest.mark.parametrize("queries", [50, 60, 500, 5000])
def test_estimates_fit_and_grow(queries):
    plan = estimates(queries, 192)
    assert plan
    assert plan == sorted(plan)
    assert sum(plan) <= queries
