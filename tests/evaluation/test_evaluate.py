"""One call evaluates a network: its answer on networks whose robustness is known exactly."""

import numpy as np
import pytest
import torch

import advrob
from advrob.errors import UserError
from advrob.evaluation.calibration import exact, templates
from advrob.evaluation.twins import TWINS
from advrob.images.pixels import to_tensor
from advrob.job import compute

CLASSES, SIZE = 6, 16


@pytest.fixture(scope="module")
def case():
    """Images, labels and the network of their class templates."""
    draw = np.random.default_rng(0)
    centres = 128 + draw.integers(-12, 13, (CLASSES, SIZE, SIZE, 3))
    labels = np.arange(48) % CLASSES
    noise = draw.normal(0, 60, (48, SIZE, SIZE, 3))
    pixels = (centres[labels] + noise).clip(0, 255).astype(np.uint8)
    return pixels, labels, templates(pixels, labels, grid=SIZE)


def test_the_worst_case_of_a_linear_network_is_its_truth(case):
    pixels, labels, network = case
    radius = 16
    truth = exact(network, pixels, labels, "linf", radius).numpy()
    assert 0.1 < truth.mean() < 0.9
    evaluation = advrob.evaluate(
        network,
        to_tensor(pixels),
        torch.from_numpy(labels),
        radius=radius,
        iterations=30,
        queries=50,
    )
    np.testing.assert_array_equal(evaluation.robust, truth)
    assert evaluation.original.accuracy == 1
    assert evaluation.grade in ("A", "B", "C")
    assert f"{truth.mean():.1%}" in str(evaluation)
    moved = (evaluation.attacked - to_tensor(pixels)).abs().max() * 255
    assert moved <= radius + 1e-3


def test_a_radius_in_units_of_one_is_refused():
    images, labels = torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])
    with pytest.raises(UserError, match=r"^evaluate: radius is 0\.0157, .* probably 4\.$"):
        advrob.evaluate(torch.nn.Flatten(), images, labels, radius=0.0157)


def test_a_masked_twin_gets_the_worst_grade(case):
    pixels, labels, network = case
    twin = TWINS["one_hot"](network, compute.generator(0))
    evaluation = advrob.evaluate(
        twin, to_tensor(pixels), torch.from_numpy(labels), radius=16, iterations=5, queries=5
    )
    assert evaluation.grade == "D"
    assert "failed: check-up: gradient" in str(evaluation)


def test_logits_that_are_nan_are_not_counted_as_a_class(case):
    pixels, labels, network = case

    class Failing(torch.nn.Module):
        def forward(self, images):
            logits = network(images)
            return logits.where(images.mean((1, 2, 3))[:, None] > 0.51, torch.nan)

    with pytest.raises(UserError, match=r"its logits are not finite .* predict no class"):
        advrob.evaluate(Failing(), to_tensor(pixels), torch.from_numpy(labels), radius=16)
