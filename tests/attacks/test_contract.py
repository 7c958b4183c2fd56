"""What holds for every kind of attack, those that derive from another one included."""

import hashlib
import inspect
import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advrob import attacks
from advrob.errors import UserError
from advrob.images.pixels import to_tensor, to_uint8
from advrob.job.compute import generator
from advrob.plan.kinds import kinds
from advrob.plug_ins import load
from examples import required_values
from random_networks import extreme_images

KINDS = kinds("attack")
CASES = [(kind, norm) for kind in KINDS for norm in load("attack", kind).norms]
EFFORTS = {"iterations": 12, "queries": 200}
CLASSES = 5
SIZE = 8


def build(kind: str, norm: str, radius: float, **others: object) -> attacks.Attack:
    """An attack with as few hyperparameters as possible, and little effort."""
    parameters = inspect.signature(load("attack", kind).__init__).parameters
    values = {"norm": norm, "radius": radius, "step": radius / 4, **EFFORTS, **others}
    own = {key: values[key] for key in values if key in parameters}
    return attacks.build(kind, required_values(KINDS[kind]) | own)


def has_levels(kind: str) -> bool:
    return "levels" in inspect.signature(load("attack", kind).__init__).parameters


@pytest.fixture
def network(images: Tensor) -> nn.Module:
    """A small network of random weights in evaluation mode; it answers all of its classes."""
    draw = torch.Generator().manual_seed(2)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(288, CLASSES)
    )
    with torch.no_grad():
        for parameter in network.parameters():
            width = parameter[0].numel()
            parameter.copy_(torch.randn(parameter.shape, generator=draw) / width**0.5)
        network.eval()[-1].bias -= network(images).mean(dim=0)
    return network


@pytest.fixture
def images() -> Tensor:
    return extreme_images(12, SIZE)


@pytest.fixture
def labels(network: nn.Module, images: Tensor) -> Tensor:
    """What the network answers, but for every third image something else."""
    with torch.no_grad():
        labels = network(images).argmax(dim=1)
    labels[::3] = (labels[::3] + 1) % CLASSES
    return labels


def answers(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images).argmax(dim=1)


def lengths(attacked: Tensor, images: Tensor, norm: str) -> np.ndarray:
    """How far 8-bit images are from each other, computed in whole numbers."""
    moves = np.abs(to_uint8(attacked).astype(int) - to_uint8(images)).reshape(len(attacked), -1)
    return moves.max(axis=1) if norm == "linf" else np.sqrt((moves**2).sum(axis=1))


def test_there_are_kinds() -> None:
    assert len(KINDS) >= 3


@pytest.mark.parametrize("kind", KINDS)
def test_hyperparameters_are_declared_in_full(kind: str) -> None:
    """Keyword-only, with a type and a sentence; the traits fit them."""
    attack = load("attack", kind)
    parameters = inspect.signature(attack.__init__).parameters
    keys = [key for key in parameters if key != "self"]
    assert all(parameters[key].kind is inspect.Parameter.KEYWORD_ONLY for key in keys)
    assert all(parameters[key].annotation is not inspect.Parameter.empty for key in keys)
    assert re.findall(r"^ {4,8}(\w+): ", attack.__doc__.partition("Args:")[2], re.MULTILINE) == keys
    efforts = [attack.effort] if isinstance(attack.effort, str) else attack.effort
    # An attack without such a key makes one pass.
    assert {*efforts} <= {*keys} or attack.effort == "iterations"
    assert ("norm" in keys) == (len(attack.norms) > 1)


@pytest.mark.parametrize(("kind", "norm"), CASES)
@pytest.mark.parametrize("radius", [2.5, 8, 60])
def test_what_is_stored_is_within_the_bounds(network, images, labels, kind, norm, radius) -> None:
    adversarial = build(kind, norm, radius)(network, images, labels, generator=generator(0))
    assert adversarial.shape == images.shape
    assert adversarial.dtype == torch.float32
    assert not adversarial.requires_grad
    assert torch.equal(adversarial, to_tensor(to_uint8(adversarial)))
    assert lengths(adversarial, images, norm).max() <= radius


@pytest.mark.parametrize(("kind", "norm"), [case for case in CASES if has_levels(case[0])])
@pytest.mark.parametrize("radius", [0.4, 2.5, 60])
def test_real_values_are_within_the_bounds(network, images, labels, kind, norm, radius) -> None:
    attack = build(kind, norm, radius, levels=None)
    adversarial = attack(network, images, labels, generator=generator(0))
    moves = 255 * (adversarial.double() - images.double()).flatten(1)
    order = {"linf": torch.inf, "l2": 2}[norm]
    farthest = torch.linalg.vector_norm(moves, order, dim=1).max()
    # Up to the rounding of float32.
    assert 0 < farthest <= radius + 1e-4
    assert (adversarial >= 0).all()
    assert (adversarial <= 1).all()
    assert not torch.equal(adversarial, to_tensor(to_uint8(adversarial)))


@pytest.mark.parametrize(("kind", "norm"), CASES)
def test_only_correctly_classified_images_are_moved(network, images, labels, kind, norm) -> None:
    radius = 60 if norm == "linf" else 600
    adversarial = build(kind, norm, radius)(network, images, labels, generator=generator(0))
    wrong = answers(network, images) != labels
    assert 0 < wrong.sum() < len(labels)
    assert torch.equal(adversarial[wrong], images[wrong])
    fooled = answers(network, adversarial) != labels
    assert fooled[wrong].all()
    assert fooled[~wrong].any()


@pytest.mark.parametrize(("kind", "norm"), CASES)
def test_a_batch_of_wrong_images_costs_next_to_nothing(network, images, labels, kind, norm) -> None:
    wrong = (answers(network, images) + 1) % CLASSES
    seen = []
    network.register_forward_pre_hook(lambda _, arguments: seen.append(len(arguments[0])))
    build(kind, norm, 8)(network, images, wrong, generator=generator(0))
    assert set(seen) == {len(images)}
    assert len(seen) <= 2


@pytest.mark.parametrize(("kind", "norm"), CASES)
def test_nothing_else_changes(network, images, labels, kind, norm) -> None:
    """Not the images, the labels, the weights, their gradients, the mode or other generators."""
    before = [images.clone(), labels.clone(), *(p.detach().clone() for p in network.parameters())]
    state = torch.random.get_rng_state()
    build(kind, norm, 8)(network, images, labels, generator=generator(0))
    after = [images, labels, *network.parameters()]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module.training for module in network.modules())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(("kind", "norm"), CASES)
def test_the_seed_decides(network, images, labels, kind, norm) -> None:
    results = [
        build(kind, norm, 20)(network, images, labels, generator=generator(0)) for _ in range(2)
    ]
    assert torch.equal(*results)


def linear(images: Tensor) -> Tensor:
    """Four classes, each linear in the pixels with whole numbers as weights."""
    weights = np.random.default_rng(1).integers(-9, 10, (4, 3 * SIZE * SIZE))
    return images.flatten(1) @ torch.from_numpy(weights.astype(np.float32)).T / 16


@pytest.mark.parametrize(("kind", "norm"), CASES)
def test_radius_never_helps_a_linear_network(images, kind, norm) -> None:
    labels = linear(images).argmax(dim=1)
    radii = [1, 4, 12, 40, 120] if norm == "linf" else [20, 60, 150, 400, 1200]
    accuracies = []
    for radius in radii:
        adversarial = build(kind, norm, radius)(linear, images, labels, generator=generator(0))
        accuracies.append((linear(adversarial).argmax(dim=1) == labels).float().mean().item())
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] > accuracies[-1]


# What these attacks make of `whole`.
RECORDED = [
    ("pgd", {"norm": "linf", "radius": 2.5, "step": 1, "iterations": 10}, "24c20bcda3bb2758"),
    ("pgd", {"norm": "l2", "radius": 30, "step": 9, "iterations": 10}, "52ed500ffd73bd8c"),
    ("apgd", {"norm": "linf", "radius": 2.5, "iterations": 20}, "beca2474817fc7d2"),
    (
        "apgd",
        {"loss": "logits_ratio", "norm": "l2", "radius": 30, "iterations": 20},
        "b2fe01f432d173e6",
    ),
    ("square", {"radius": 4, "queries": 60}, "1e0e3b1b835bc6ec"),
]


def whole(images: Tensor) -> Tensor:
    """`linear` in whole numbers, whose sums have no rounding that depends on the processor."""
    weights = np.random.default_rng(1).integers(-9, 10, (4, 3 * SIZE * SIZE)).T
    weights = torch.from_numpy(weights.astype(np.float32))
    real = 255 * images.flatten(1) @ weights
    return ((255 * images).round().flatten(1) @ weights + (real - real.detach())) / 4096


@pytest.mark.parametrize(("kind", "options", "expected"), RECORDED)
def test_the_same_seed_gives_the_same_bytes(kind, options, expected) -> None:
    images = extreme_images(40, SIZE)
    labels = whole(images).argmax(dim=1)
    adversarial = attacks.build(kind, options)(whole, images, labels, generator=generator(0))
    assert hashlib.sha256(to_uint8(adversarial).tobytes()).hexdigest()[:16] == expected


class Own(attacks.Attack):
    """An attack of somebody's own."""

    def __init__(self, perturb) -> None:
        self.perturb = perturb


def attacked_by(perturb, images: Tensor, labels: Tensor) -> Tensor:
    return Own(perturb)(nn.Identity(), images, labels, generator=torch.Generator())


@pytest.mark.parametrize(
    ("perturb", "returned"),
    [
        (lambda task: None, "an object of type NoneType"),
        (lambda task: task.images[:1], r"a tensor of shape \(1, 3, 4, 4\)"),
        (lambda task: (255 * task.images).byte(), "numbers of type uint8"),
        (lambda task: task.images / 0, "NaN or infinity"),
    ],
)
def test_what_is_no_image_is_refused(perturb, returned: str) -> None:
    sentence = rf"^attack Own: returns {returned} for images of shape \(2, 3, 4, 4\)\. Expected"
    with pytest.raises(UserError, match=sentence):
        attacked_by(perturb, torch.ones(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64))


def test_an_attack_may_write_into_what_it_is_given() -> None:
    images, labels = torch.ones(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64)

    def perturb(task: attacks.Task) -> Tensor:
        task.labels.add_(1)
        return task.images.mul_(0.5)

    assert torch.equal(attacked_by(perturb, images, labels), 0.5 * images)
    assert images.eq(1).all()
    assert labels.eq(0).all()
