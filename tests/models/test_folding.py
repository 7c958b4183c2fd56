"""Folded networks against the same networks unfolded."""

import h5py
import pytest
import timm
import torch
import torchvision
from timm.layers import StdConv2d
from torch import nn

from advrob import models
from advrob.models.folding import fold

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.rand(2, 3, 96, 96, generator=GENERATOR)


def seasoned(network: nn.Module) -> nn.Module:
    """Statistics and weights of normalisation as training leaves them: all sorts."""
    torch.manual_seed(0)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d) and part.track_running_stats:
            part.running_mean.normal_()
            part.running_var.uniform_(0.3, 3)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
    return network.eval().requires_grad_(False)


def count(network: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in network.modules())


@pytest.mark.parametrize(
    ("make", "layers"),
    [
        (lambda: torchvision.models.resnet18(weights=None), 20),
        (lambda: timm.create_model("test_resnet", pretrained=False), 15),
        (lambda: timm.create_model("test_efficientnet", pretrained=False), 13),
        (lambda: timm.create_model("tf_efficientnet_lite0", pretrained=False), 49),
    ],
)
def test_a_folded_network_is_the_same_function_with_the_same_gradient(make, layers):
    network, exact = seasoned(make()), seasoned(make()).double()
    assert count(network) == layers
    answers, gradients = [], []
    for _ in range(2):
        answers.append(network(IMAGES))
        # In double precision, in which no unit is near enough to 0 for rounding to turn it off.
        images = IMAGES.double().requires_grad_()
        gradients.append(torch.autograd.grad(exact(images).square().sum(), images)[0])
        folded = fold(network), fold(exact)
    assert folded == (0, 0), "the second time nothing is left"
    assert count(network) == count(exact) == 0
    scale = answers[0].abs().max().item()
    torch.testing.assert_close(answers[1], answers[0], rtol=0, atol=2e-5 * scale)
    scale = gradients[0].abs().max().item()
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=1e-9 * scale)


def test_efficientnet_lite0_is_folded_unless_it_is_said(capsys):
    plain = models.build("efficientnet_lite0", {}, fold=False)
    folded = models.build("efficientnet_lite0", {})
    assert (count(plain), count(folded)) == (49, 0)
    expected = plain(IMAGES)
    torch.testing.assert_close(folded(IMAGES), expected, rtol=0, atol=1e-4)
    assert torch.equal(folded(IMAGES).argmax(1), expected.argmax(1))
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_a_trained_model_is_stored_unfolded_and_folded_when_it_is_restored(tmp_path):
    entry = {"base": {"kind": "efficientnet_lite0"}, "train": {"method": "standard"}}
    trained = models.build("mine", entry)
    assert count(trained) == 49
    with torch.no_grad():
        for parameter in trained.network.parameters():
            parameter.mul_(1.01)
    trained.class_subset = torch.tensor([3, 8])
    with h5py.File(tmp_path / "state.h5", "w") as file:
        for name, array in models.trained_state(trained).items():
            file[name] = array
        restored = models.build("mine", entry, state=file)
        unfolded = models.build("mine", entry, state=file, fold=False)
    assert (count(restored), count(unfolded)) == (0, 49)
    torch.testing.assert_close(unfolded(IMAGES), trained(IMAGES), rtol=0, atol=0)
    torch.testing.assert_close(restored(IMAGES), trained(IMAGES), rtol=1e-5, atol=1e-4)


class Twice(nn.Module):
    """A convolution whose output goes elsewhere, too."""

    def __init__(self):
        super().__init__()
        self.convolve, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images):
        features = self.convolve(images)
        return self.norm(features) + features


class Shared(Twice):
    """One normalisation of two outputs."""

    def __init__(self):
        super().__init__()
        self.second_convolve = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return self.norm(self.convolve(images)) + self.norm(self.second_convolve(images))


class Branching(Twice):
    """Nothing that a tracer can follow."""

    def forward(self, images):
        return self.norm(self.convolve(images)) * (2 if images.mean() > 0 else 3)


class Remembering(Twice):
    """What a tracer would leave behind, were it to trace this very network."""

    side = None

    def forward(self, images):
        if self.side is None:
            self.side = images.shape[-1]
        return self.norm(self.convolve(images)) * self.side


class Reading(Twice):
    """Weights of normalisation that are used elsewhere, too."""

    def forward(self, images):
        return self.norm(self.convolve(images)) + self.norm.weight.sum()


def with_weights(convolution: nn.Module) -> nn.Module:
    return nn.Sequential(convolution, nn.BatchNorm2d(4))


@pytest.mark.parametrize(
    "make",
    [
        Twice,
        Shared,
        Branching,
        Reading,
        lambda: with_weights(StdConv2d(3, 4, 3)),
        lambda: with_weights(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
        lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)),
    ],
)
def test_what_cannot_be_folded_exactly_is_left(make):
    torch.manual_seed(0)
    network = seasoned(make())
    before = network(IMAGES)
    assert fold(network) == 0
    assert count(network) == 1
    torch.testing.assert_close(network(IMAGES), before, rtol=0, atol=0)


def test_a_network_keeps_nothing_of_being_traced():
    network = seasoned(Remembering())
    assert fold(network) == 1
    assert network.side is None
    assert network(IMAGES).shape == (2, 4, 94, 94)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_folding_against_its_formula(affine, groups, bias):
    network = nn.Sequential(
        nn.Conv2d(4, 6, 3, bias=bias, groups=groups, stride=2, padding=1, dilation=2),
        nn.BatchNorm2d(6, affine=affine),
        nn.ReLU(),
    )
    network[1].running_mean.normal_()
    network[1].running_var.uniform_(0.3, 3)
    images = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(1))
    expected = network.eval()(images)
    assert fold(network) == 1
    torch.testing.assert_close(network(images), expected, rtol=1e-5, atol=1e-5)
