"""Small networks of random weights, and pictures for them, for tests of attacks."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from advrob.images.pixels import to_tensor


def random_network(classes: int) -> nn.Module:
    """A convolutional network for images of 16 x 16, in evaluation mode."""
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 49, classes)
    )
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            width = parameter.shape[-1] if parameter.dim() == 2 else 27
            parameter.copy_(torch.randn(parameter.shape, generator=draw) / width**0.5)
    return network.eval()


@contextmanager
def left_as_it_was(network: nn.Module) -> Iterator[None]:
    """Assert that the block leaves a network's mode, weights and gradients as they were."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    yield
    assert not network.training
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad
        assert parameter.grad is None
        assert torch.equal(parameter, before[name])


def extreme_images(count: int, size: int) -> Tensor:
    """Noise with black, white and everything between, so that all bounds are met."""
    levels = np.random.default_rng(3).integers(-80, 336, (count, size, size, 3)).clip(0, 255)
    return to_tensor(levels.astype(np.uint8))
