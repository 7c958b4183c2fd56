"""Layers of networks against what their modules say of themselves."""

import pytest
import torch
from torch import nn

from advrob.figures import layers
from advrob.job.compute import generator

CPU = torch.device("cpu")


@pytest.fixture
def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(128, 10)),
    ).eval()


def test_a_trace_has_the_shapes_and_parameters_that_the_network_has(
    network: nn.Sequential,
) -> None:
    traced = layers.trace(network, torch.zeros(2, 3, 16, 16))
    assert [layer.shape for layer in traced] == [(8, 8, 8), (128,), (10,)]
    assert [layer.path for layer in traced] == ["0.0", "0.3", "1.1"]
    assert traced[0].operations == ("convolution\n3×3, stride 2", "batch norm.", "ReLU")
    total = sum(weights.numel() for weights in network.parameters())
    assert sum(layer.parameters for layer in traced) == total
    assert not any(part._forward_hooks for part in network.modules())


def test_a_trace_looks_as_deep_as_it_is_told(network: nn.Sequential) -> None:
    images = torch.zeros(2, 3, 16, 16)
    assert [layer.shape for layer in layers.trace(network, images, depth=1)] == [(8, 4, 4), (10,)]
    assert [layer.shape for layer in layers.trace(network, images, depth=0)] == [(10,)]


def test_shared_weights_are_counted_once() -> None:
    layer = nn.Linear(4, 4)
    traced = layers.trace(nn.Sequential(layer, layer), torch.zeros(2, 4))
    assert [layer.parameters for layer in traced] == [20, 0]


def test_narrowest_is_the_code_of_an_autoencoder() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.randn(7, 3 * 8 * 8, generator=generator(0, "weight"))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            codes = images.flatten(1) @ self.weight.T
            return (codes @ self.weight).view_as(images)

    assert layers.narrowest(Tied(), (3, 8, 8), CPU) == (7,)
    assert layers.narrowest(nn.Identity(), (3, 8, 8), CPU) == (3, 8, 8)


@pytest.mark.parametrize(
    ("number", "text"),
    [(771, "771"), (8224, "8.22 k"), (7_000_000, "7.00 M"), (198_480, "198 k"), (0, "0")],
)
def test_counts_have_three_digits(number: int, text: str) -> None:
    assert layers.count(number) == f"{text} parameters"
