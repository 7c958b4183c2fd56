import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advrob.errors import UserError
from advrob.images import labels as classes
from advrob.job.compute import generator
from advrob.training.gan import Discriminator, Generator, doublings
from advrob.training.multitask import MultiTaskNetwork, build, build_heads, categories, rotated


def small(module: nn.Module) -> nn.Module:
    """The module with weights from an explicit generator."""
    draw = generator(0, "weights")
    for weights in module.parameters():
        weights.data.normal_(0, 0.1, generator=draw)
    return module


@pytest.mark.parametrize("size", [32, 48, 56, 224])
def test_shapes(size: int) -> None:
    perturbations = Generator(latent=8, size=size, channels=2)(torch.zeros(2, 8))
    assert perturbations.shape == (2, 3, size, size)
    assert Discriminator(size=size, channels=2)(perturbations).shape == (2,)


@pytest.mark.parametrize(("size", "times"), [(224, 5), (32, 3), (8, 1), (48, 3)])
def test_doublings(size: int, times: int) -> None:
    assert doublings(size) == times


@pytest.mark.parametrize("size", [299, 36, 7, 0])
def test_a_size_that_does_not_halve_is_refused(size: int) -> None:
    with pytest.raises(UserError, match=f"size: found {size}"):
        doublings(size)


def test_perturbations_keep_to_the_radius_and_differ() -> None:
    network = small(Generator(latent=8, size=224, channels=4, radius=7))
    vectors = torch.randn(6, 8, generator=generator(0, "vectors"))
    # Tanh is near its bounds.
    network.get_parameter("upsample.12.weight").data.mul_(1000)
    magnitudes = network(vectors).abs()
    assert magnitudes.max() <= 7 / 255
    assert magnitudes.max() > 6.9 / 255
    assert not torch.equal(network(vectors)[0], network(vectors)[1])


def test_gradients_reach_every_weight_of_both_players() -> None:
    players = small(Generator(latent=8, size=32, channels=4)), small(Discriminator(size=32))
    vectors = torch.randn(4, 8, generator=generator(0, "vectors"))
    logits = players[1](0.5 + players[0](vectors))
    F.softplus(-logits).mean().backward()
    for player in players:
        for name, weights in player.named_parameters():
            assert weights.grad is not None, name
            assert weights.grad.abs().sum() > 0, name


def test_a_discriminator_learns_to_tell_two_kinds_apart() -> None:
    draw = generator(0, "pictures")
    dark, light = (level + 0.1 * torch.rand(8, 3, 32, 32, generator=draw) for level in (0, 0.2))
    images, real = torch.cat((dark, light)), torch.cat((torch.zeros(8), torch.ones(8)))
    network = small(Discriminator(size=32, channels=2))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(20):
        loss = F.binary_cross_entropy_with_logits(network(images), real)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert ((network(images) > 0) == real.bool()).all()


@pytest.fixture
def shared() -> MultiTaskNetwork:
    trunk = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = nn.Sequential(trunk, nn.Linear(6, 10))
    network = MultiTaskNetwork(classifier, build_heads(["coarse", "rotation", "reconstruction"], 6))
    small(network)
    return network


def test_heads_share_one_trunk(shared: MultiTaskNetwork) -> None:
    images = torch.rand(5, 3, 16, 16, generator=generator(0, "images"))
    answers = shared.tasks(images)
    assert {task: tuple(logits.shape) for task, logits in answers.items()} == {
        "class": (5, 10),
        "coarse": (5, 83),
        "rotation": (5, 4),
        "reconstruction": (5, 3 * 28 * 28),
    }
    assert torch.equal(shared(images), answers["class"])
    trunk, head = shared.network[0], shared.network[1]
    features = trunk(images)
    assert torch.equal(answers["class"], head(features))
    assert torch.equal(answers["rotation"], shared.heads["rotation"](features))

    answers["rotation"].sum().backward()
    assert all(weights.grad is not None for weights in trunk.parameters())
    assert shared.heads["rotation"].weight.grad is not None
    assert head.weight.grad is None


def test_the_trunk_is_run_once_for_all_tasks(shared: MultiTaskNetwork) -> None:
    runs: list[nn.Module] = []
    shared.network.register_forward_hook(lambda module, *_: runs.append(module))
    shared.tasks(torch.zeros(1, 3, 16, 16))
    assert len(runs) == 1


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(UserError, match=r"'colour' is not an auxiliary task.*coarse, rotation"):
        build_heads(["colour"], 3)


def test_an_architecture_of_timm_knows_its_features() -> None:
    with torch.device("meta"):
        network = build("tf_efficientnet_lite0", ["rotation"]).eval()
        answers = network.tasks(torch.empty(2, 3, 224, 224))
    assert answers["class"].shape == (2, 1000)
    assert answers["rotation"].shape == (2, 4)
    with pytest.raises(UserError, match="tf_efficientnet_lite0"):
        build("tf_efficientnet_lit0", ["rotation"])


def test_categories_are_above_the_classes_in_wordnet() -> None:
    names, category = categories()
    assert category.shape == (1000,)
    assert len(names) == len(set(category.tolist())) == 83
    category_of = {classes.names()[index]: names[category[index]] for index in range(1000)}
    expected = {
        "tench": "animal",
        "English springer": "animal",
        "church": "building",
        "garbage truck": "conveyance",
        "chain saw": "device",
        "French horn": "device",
        "parachute": "equipment",
        "bell pepper": "vegetable",
    }
    assert {name: category_of[name] for name in expected} == expected


def test_rotated_turns_each_image_by_its_own_quarters() -> None:
    images = torch.rand(4, 3, 5, 5, generator=generator(0, "images"))
    turned = rotated(images, torch.tensor([0, 1, 2, 3]))
    for row in range(4):
        assert np.array_equal(turned[row], np.rot90(images[row].numpy(), row, axes=(1, 2)))
