"""The targeted gradient attack against torchattacks, and its bounds on 8-bit images."""

import numpy as np
import pytest
import torch
import torchattacks
from scipy.stats import chisquare
from torch import Tensor, nn

from advrob.attacks.gradient import random_targets, targeted
from advrob.images.pixels import to_tensor, to_uint8
from random_networks import extreme_images, left_as_it_was, random_network

CLASSES = 20


@pytest.fixture
def network() -> nn.Module:
    return random_network(CLASSES)


@pytest.fixture
def images() -> Tensor:
    return extreme_images(24, 16)


@pytest.fixture
def targets(network: nn.Module, images: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return random_targets(network(images).argmax(dim=1), CLASSES, generator)


def moved(images: Tensor, attacked: Tensor) -> np.ndarray:
    """How far the stored images are apart, in levels."""
    return to_uint8(attacked).astype(int) - to_uint8(images).astype(int)


def test_equals_torchattacks(network, images, targets):
    attack = torchattacks.PGD(network, eps=8 / 255, alpha=1 / 255, steps=12, random_start=False)
    attack.set_mode_targeted_by_label(quiet=True)
    expected = attack(images, targets)
    # Whole steps within a whole radius end on whole levels: rounding changes nothing.
    adversarial = targeted(network, images, targets, radius=8, step=1, iterations=12)
    torch.testing.assert_close(adversarial, expected, rtol=0, atol=1e-6)


def test_one_step_descends_by_the_sign_of_the_gradient(network, images, targets):
    probed = images.clone().requires_grad_()
    log_probabilities = network(probed).log_softmax(dim=1)
    log_probabilities[torch.arange(len(images)), targets].sum().backward()
    adversarial = targeted(network, images, targets, radius=10, step=3, iterations=1)
    before = (images * 255).round()
    expected = (before + 3 * probed.grad.sign()).clamp(0, 255)
    torch.testing.assert_close(adversarial * 255, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("radius", [0.4, 1, 2.5, 7.9, 10, 300])
@pytest.mark.parametrize("step", [0.7, 1, 4])
def test_stays_within_the_radius_after_rounding(network, images, targets, radius, step):
    adversarial = targeted(network, images, targets, radius=radius, step=step, iterations=8)
    assert torch.equal(adversarial, to_tensor(to_uint8(adversarial)))
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    difference = moved(images, adversarial)
    assert np.abs(difference).max() <= radius
    if radius < 8 * step:
        # The bound is met, not only kept.
        assert np.abs(difference).max() == int(radius)


def test_radius_zero_changes_nothing(network, images, targets):
    assert torch.equal(targeted(network, images, targets, radius=0, iterations=3), images)


def test_reaches_its_targets(network, images, targets):
    hits = network(images).argmax(dim=1) == targets
    assert not hits.any()
    adversarial = targeted(network, images, targets, radius=48, iterations=50)
    hits = network(adversarial).argmax(dim=1) == targets
    assert hits.float().mean() > 0.95


def test_leaves_an_image_alone_once_it_is_confident(network, images, targets):
    with torch.no_grad():
        network[-1].weight *= 10  # as certain of itself as a trained network
    seen = []
    network.register_forward_pre_hook(lambda _, arguments: seen.append(len(arguments[0])))
    options = {"radius": 48, "iterations": 50}
    adversarial = targeted(network, images, targets, confidence=0.9, **options)
    assert seen[0] == len(images)
    assert seen == sorted(seen, reverse=True)
    assert sum(seen) < 0.5 * 50 * len(images)
    reached = network(adversarial).softmax(dim=1).gather(1, targets[:, None])
    assert (reached >= 0.9).float().mean() > 0.9
    # What every image goes through until then is the attack of all iterations.
    patient = targeted(network, images, targets, confidence=1.1, **options)
    assert torch.equal(patient, targeted(network, images, targets, **options))
    first = targeted(network, images, targets, radius=48, iterations=1)
    stopped = targeted(network, images, targets, radius=48, iterations=1, confidence=0.9)
    assert torch.equal(first, stopped)


def test_works_on_no_image_that_has_its_target(network, images):
    own = network(images).argmax(dim=1)
    assert torch.equal(targeted(network, images, own, radius=8, confidence=0), images)


def test_does_not_depend_on_the_batch(network, images, targets):
    together = targeted(network, images, targets, radius=4, iterations=6)
    alone = torch.cat(
        [
            targeted(network, image[None], target[None], radius=4, iterations=6)
            for image, target in zip(images, targets, strict=True)
        ]
    )
    # The sign of a gradient next to zero may depend on the order of a sum.
    assert (moved(together, alone) == 0).mean() > 0.999


def test_leaves_network_and_images_as_they_were(network, images, targets):
    copy = images.clone()
    with left_as_it_was(network), torch.no_grad():
        adversarial = targeted(network, images, targets, radius=4, iterations=2)
    assert not adversarial.requires_grad
    assert not images.requires_grad
    assert torch.equal(images, copy)


def test_targets_are_uniform_over_the_other_classes():
    labels = torch.arange(10).repeat(2000)
    targets = random_targets(labels, 10, torch.Generator().manual_seed(5))
    assert not (targets == labels).any()
    assert targets.min() == 0
    assert targets.max() == 9
    for label in range(10):
        counts = torch.bincount(targets[labels == label], minlength=10).tolist()
        assert counts.pop(label) == 0
        assert chisquare(counts).pvalue > 1e-4


def test_targets_are_reproducible():
    labels = torch.zeros(100, dtype=torch.int64)
    first, second, other = (
        random_targets(labels, 1000, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_two_classes_leave_one_target():
    labels = torch.tensor([0, 1, 1, 0])
    assert torch.equal(random_targets(labels, 2, torch.Generator().manual_seed(1)), 1 - labels)


def test_targets_are_among_the_classes_that_the_network_answers():
    answered = torch.tensor([3, 7, 11, 900])
    # The network does not answer the last label's class.
    labels = torch.tensor([3, 7, 11, 900, 950]).repeat(200)
    targets = random_targets(labels, 1000, torch.Generator().manual_seed(5), among=answered)
    assert not (targets == labels).any()
    for label in (3, 7, 11, 900):
        drawn = set(targets[labels == label].tolist())
        assert drawn == set(answered.tolist()) - {label}
    assert set(targets[labels == 950].tolist()) <= set(answered.tolist())
    all_of_them = torch.arange(1000)
    one, two = (
        random_targets(labels, 1000, torch.Generator().manual_seed(5), among=among)
        for among in (None, all_of_them)
    )
    assert torch.equal(one, two)
