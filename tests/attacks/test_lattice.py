"""Rounding to 8 bits: against exhaustive search and plain rounding."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from advrob import attacks
from advrob.attacks.bounds import Ball
from advrob.attacks.lattice import onto_lattice
from advrob.images.pixels import to_tensor, to_uint8
from advrob.job.compute import generator


def moves_of(attacked: Tensor, originals: Tensor) -> np.ndarray:
    return (to_uint8(attacked).astype(int) - to_uint8(originals)).reshape(len(attacked), -1)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("radius", [1.0, 2.0, 3.2])
def test_filled_moves_reach_as_far_in_a_direction_as_any(seed, radius):
    """All moves of an image of two pixels can be tried; some of them hit 0 or 255."""
    draw = np.random.default_rng(seed)
    levels = draw.choice([0, 1, 128, 254, 255], (1, 1, 2, 3)).astype(np.uint8)
    originals = to_tensor(levels)
    direction = torch.from_numpy(draw.normal(size=(1, 3, 1, 2)).astype(np.float32))
    filled = Ball(originals, "l2", radius).filled(originals + 1e-3 * direction)
    assert torch.equal(filled, to_tensor(to_uint8(filled)))
    moves = moves_of(filled, originals)[0]
    assert (moves**2).sum() <= radius**2
    weights = direction.permute(0, 2, 3, 1).numpy().ravel()
    reach = range(-int(radius), int(radius) + 1)
    every = np.array(list(itertools.product(reach, repeat=6)))
    every = every[(every**2).sum(axis=1) <= radius**2]
    after = levels.ravel().astype(int) + every
    every = every[((after >= 0) & (after <= 255)).all(axis=1)]
    best = (every @ weights).max()
    # Greedy: it may leave less than one level's worth unused.
    assert moves @ weights >= 0.8 * best
    assert moves @ weights > 0


def test_equal_parts_are_filled_up_to_the_radius():
    """Where all parts of a move are as large, no stretching takes some of them alone."""
    originals = to_tensor(np.full((1, 8, 8, 3), 100, np.uint8))
    filled = Ball(originals, "l2", 9.0).filled(originals + 1e-4)
    moves = moves_of(filled, originals)[0]
    assert sorted(moves) == [0] * (192 - 81) + [1] * 81


@pytest.fixture
def images() -> Tensor:
    levels = np.random.default_rng(3).integers(20, 236, (200, 16, 16, 3))
    return to_tensor(levels.astype(np.uint8))


def linear(images: Tensor) -> Tensor:
    """Two classes; near to their boundary for images that are noise around grey."""
    weights = torch.randn(768, generator=torch.Generator().manual_seed(1))
    score = 20 * (images.flatten(1) - 0.5) @ weights
    return torch.stack([score, -score], dim=1) / 100


@pytest.mark.parametrize(("norm", "radius"), [("l2", 6.0), ("l2", 8.0), ("linf", 1.5)])
def test_images_stay_fooled_where_the_lattice_allows_it(images, norm, radius):
    labels = linear(images).argmax(dim=1)
    ball = Ball(images, norm, radius)
    attack = attacks.build(
        "apgd",
        {"loss": "margin", "norm": norm, "radius": radius, "iterations": 30, "levels": None},
    )
    real = attack(linear, images, labels, generator=generator(0))
    searched = onto_lattice(linear, ball, real, labels)
    assert torch.equal(searched, to_tensor(to_uint8(searched)))
    lengths = np.linalg.norm(moves_of(searched, images), {"linf": np.inf, "l2": 2}[norm], axis=1)
    assert lengths.max() <= radius
    wrong = {
        "real": linear(real).argmax(dim=1) != labels,
        "rounded": linear(ball.stored(real)).argmax(dim=1) != labels,
        "searched": linear(searched).argmax(dim=1) != labels,
        # The best that whole levels can do to a linear network.
        "possible": linear(ball.filled(images - gradient(images, labels))).argmax(dim=1) != labels,
    }
    share = {name: value.float().mean().item() for name, value in wrong.items()}
    assert share["rounded"] < share["real"]
    assert (wrong["searched"] >= wrong["rounded"]).all()
    if norm == "l2":
        assert (wrong["searched"] >= (wrong["possible"] & wrong["real"])).all()
        assert share["searched"] > share["rounded"]


def gradient(images: Tensor, labels: Tensor) -> Tensor:
    """Of the label's logit."""
    probed = images.clone().requires_grad_()
    own = linear(probed).gather(1, labels[:, None]).sum()
    return torch.autograd.grad(own, probed)[0]
