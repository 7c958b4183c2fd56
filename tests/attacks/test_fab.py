"""FAB: against closed forms, SciPy and torchattacks."""

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from advrob import attacks
from advrob.attacks.fab import to_plane
from advrob.job.compute import generator


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_moves_onto_a_plane_are_as_short_as_scipys(norm, seed, share):
    draw = np.random.default_rng(seed)
    image, normal = draw.uniform(size=12), draw.normal(size=12) * (draw.uniform(size=12) > 0.2)
    upwards = np.where(normal > 0, 1 - image, -image) @ normal
    downwards = np.where(normal > 0, -image, 1 - image) @ normal
    value = -share * (upwards if seed % 2 else downwards)
    shape = (1, 3, 2, 2)
    tensors = [torch.tensor(array, dtype=torch.float32).view(shape) for array in (image, normal)]
    move = to_plane(*tensors, torch.tensor([value], dtype=torch.float32), norm).numpy().ravel()
    assert normal @ move == pytest.approx(-value, abs=1e-5)
    assert (image + move).min() >= -1e-6
    assert (image + move).max() <= 1 + 1e-6
    if norm == "linf":
        # Minimise t with -t <= d <= t.
        wide = np.hstack([np.vstack([np.eye(12), -np.eye(12)]), -np.ones((24, 1))])
        optimum = scipy.optimize.linprog(
            np.eye(13)[12],
            wide,
            np.zeros(24),
            np.append(normal, 0)[None],
            [-value],
            [*zip(-image, 1 - image, strict=True), (0, None)],
        )
        assert np.abs(move).max() == pytest.approx(optimum.fun, abs=1e-5)
    else:
        optimum = scipy.optimize.minimize(
            lambda d: d @ d,
            np.zeros(12),
            jac=lambda d: 2 * d,
            bounds=list(zip(-image, 1 - image, strict=True)),
            constraints={
                "type": "eq",
                "fun": lambda d: normal @ d + value,
                "jac": lambda d: normal,
            },
            options={"ftol": 1e-12},
        )
        assert optimum.success
        assert move @ move == pytest.approx(optimum.fun, rel=1e-3)


def test_planes_out_of_reach_are_approached():
    image = torch.full((1, 3, 2, 2), 0.25)
    normal = torch.ones_like(image)
    for norm in ("linf", "l2"):
        moved = image + to_plane(image, normal, torch.tensor([-100.0]), norm)
        torch.testing.assert_close(moved, torch.ones_like(image))
        flat = to_plane(image, torch.zeros_like(image), torch.tensor([-1.0]), norm)
        assert torch.equal(flat, torch.zeros_like(image))


@pytest.mark.parametrize("surplus", [0.0, 0.5])
@pytest.mark.parametrize(("norm", "radius"), [("linf", 0.4), ("l2", 12.0)])
def test_a_linear_network_is_fooled_up_to_the_exact_distance(norm, radius, surplus):
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(4, 768, generator=draw) / 4
    # Far enough from 0 and 1.
    images = 0.4 + 0.2 * torch.rand(200, 3, 16, 16, generator=draw)

    def linear(images: Tensor) -> Tensor:
        return 10 * (images - 0.5).flatten(1) @ weights.T

    logits = linear(images)
    labels = logits.argmax(dim=1)
    gaps = logits.gather(1, labels[:, None]) - logits + surplus
    dual = torch.linalg.vector_norm(
        10 * (weights[labels][:, None] - weights), {"linf": 1, "l2": 2}[norm], dim=2
    )
    distances = 255 * gaps / dual
    exact = distances.scatter(1, labels[:, None], torch.inf).amin(dim=1)
    options = {"norm": norm, "radius": radius, "iterations": 20, "levels": None}
    attack = attacks.build("fab", options)
    adversarial = attack(linear, images, labels, generator=generator(0), surplus=surplus)
    reached = linear(adversarial)
    own = reached.gather(1, labels[:, None])[:, 0]
    lead = reached.scatter(1, labels[:, None], -torch.inf).amax(dim=1) - own
    assert 0.2 < (exact < radius).float().mean() < 0.8
    assert torch.equal((lead > surplus)[exact < 0.98 * radius].unique(), torch.tensor([True]))
    assert torch.equal((lead > surplus)[exact > radius].unique(), torch.tensor([False]))
