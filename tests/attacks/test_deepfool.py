"""DeepFool against the closed form of linear classifiers and against foolbox."""

import foolbox
import pytest
import torch
from torch import Tensor, nn

from advrob.attacks.deepfool import MARGIN, deepfool
from random_networks import left_as_it_was


def linear(classes: int = 7, side: int = 8) -> nn.Module:
    """A random linear classifier of images."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, classes))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return network.eval()


def convolutional(classes: int = 20) -> nn.Module:
    """A random convolutional network of 32 x 32 images, scaled as for training."""
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 49, classes),
    )
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for layer in (network[0], network[2], network[5]):
            fan_in = layer.weight[0].numel()
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
            layer.weight.mul_((2 / fan_in) ** 0.5)
            layer.bias.zero_()
    return network.eval()


def pictures(count: int, side: int) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(3))


def norms(perturbations: Tensor) -> Tensor:
    return perturbations.flatten(1).norm(dim=1)


def test_linear_classifier_has_a_closed_form():
    network, images = linear(), pictures(20, 8)
    perturbations = deepfool(network, images, overshoot=0.1)

    weight = network[1].weight.detach()
    logits = network(images).detach()
    own = logits.argmax(dim=1)
    for index in range(len(images)):
        others = [k for k in range(7) if k != own[index]]
        normals = weight[others] - weight[own[index]]
        distances = (logits[index, own[index]] - logits[index, others]) / normals.norm(dim=1)
        nearest = distances.argmin()
        unit = normals[nearest] / normals[nearest].norm()
        expected = 1.1 * (distances[nearest] + MARGIN) * unit
        torch.testing.assert_close(perturbations[index].flatten(), expected, rtol=1e-4, atol=1e-6)
        # It lands in the class whose boundary was nearest.
        landed = network(images[index : index + 1] + perturbations[index : index + 1]).argmax()
        assert landed == others[int(nearest)]


def test_only_the_most_likely_classes_are_considered():
    network, images = linear(), pictures(20, 8)
    runner_up = network(images).topk(2).indices[:, 1]
    moved = images + deepfool(network, images, classes=2)
    assert torch.equal(network(moved).argmax(dim=1), runner_up)


def test_agrees_with_foolbox():
    network, images = convolutional(), pictures(16, 32)
    own = network(images).argmax(dim=1)
    ours = deepfool(network, images, classes=10, overshoot=0.02)
    # Ours is not clipped, so neither is theirs.
    model = foolbox.PyTorchModel(network, bounds=(-10, 10))
    attack = foolbox.attacks.L2DeepFoolAttack(steps=50, candidates=10, overshoot=0.02)
    _, moved, _ = attack(model, images, own, epsilons=None)
    torch.testing.assert_close(norms(ours), norms(moved - images), rtol=0.02, atol=0)
    assert (network(images + ours).argmax(dim=1) != own).all()


def test_does_not_depend_on_the_batch():
    network, images = convolutional(), pictures(8, 32)
    together = deepfool(network, images)
    alone = torch.cat([deepfool(network, image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-5)


def test_fooled_images_leave_the_batch():
    network, images = convolutional(), pictures(32, 32)
    sizes: list[int] = []
    network.register_forward_pre_hook(lambda module, arguments: sizes.append(len(arguments[0])))
    deepfool(network, images)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 32
    assert sizes[-1] < 16


def test_steps_are_capped():
    network, images = convolutional(), pictures(8, 32)
    calls: list[int] = []
    network.register_forward_pre_hook(lambda module, arguments: calls.append(1))
    deepfool(network, images, steps=1)
    assert len(calls) == 3


class Flat(nn.Module):
    """Gives all classes the same logit, whatever the image."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).sum(dim=1, keepdim=True).expand(-1, 5) * 0


@pytest.mark.parametrize("steps", [1, 5])
def test_without_a_gradient_nothing_moves(steps):
    perturbations = deepfool(Flat(), pictures(3, 8), steps=steps)
    assert torch.equal(perturbations, torch.zeros(3, 3, 8, 8))


def test_equal_logits_are_left_through_a_boundary_at_distance_zero():
    class Tie(nn.Module):
        """Two classes with equal logits at every grey image; the third is flat and far below."""

        def forward(self, images: Tensor) -> Tensor:
            red, green = images[:, 0].sum(dim=(1, 2)), images[:, 1].sum(dim=(1, 2))
            return torch.stack([red, green, 0 * red - 100], dim=1)

    images = torch.full((2, 3, 8, 8), 0.5)
    perturbations = deepfool(Tie(), images)
    assert perturbations.isfinite().all()
    assert (Tie()(images + perturbations).argmax(dim=1) == 1).all()
    torch.testing.assert_close(norms(perturbations), torch.full((2,), 1.02 * MARGIN))


def test_leaves_the_network_as_it_was():
    network = convolutional()
    images = pictures(4, 32)
    copy = images.clone()
    with left_as_it_was(network), torch.no_grad():
        perturbations = deepfool(network, images)
    assert not perturbations.requires_grad
    assert not images.requires_grad
    assert torch.equal(images, copy)
