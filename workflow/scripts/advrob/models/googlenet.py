"""Inception-v1 as its authors' reference implementation in Caffe trained it (BVLC GoogLeNet).

Szegedy et al. 2015, "Going deeper with convolutions", table 1. Unlike torchvision's GoogLeNet it
has local response normalisation instead of batch normalisation, and 5x5 convolutions.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advrob.models import NORMALISATIONS, Model, ModelKind
from advrob.models.checkpoints import Checkpoint

# Output channels of each inception module's branches: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool.
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class LocalResponseNorm(nn.Module):
    """Krizhevsky et al. 2012, section 3.3: ``x / (1 + alpha/size * sum of squares nearby)^(3/4)``.

    The sum over neighbouring channels is a 1x1 convolution with a banded matrix and the power is
    two reciprocal square roots: the backward pass then costs as little as a convolution's, where
    `torch.nn.LocalResponseNorm` takes most of the network's time.
    """

    band: Tensor
    ones: Tensor

    def __init__(self, channels: int, *, size: int = 5, alpha: float = 1e-4) -> None:
        super().__init__()
        distance = torch.arange(channels)[:, None] - torch.arange(channels)[None, :]
        band = (distance.abs() <= size // 2).float() * (alpha / size)
        self.register_buffer("band", band[:, :, None, None], persistent=False)
        self.register_buffer("ones", torch.ones(channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise activations ``(N, channels, H, W)``."""
        root = F.conv2d(x * x, self.band, self.ones).rsqrt()
        return x * (root * root.sqrt())


class InceptionModule(nn.Module):
    """Four branches side by side, joined along the channels (Szegedy et al. 2015, figure 2b)."""

    def __init__(self, inputs: int, branches: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        direct, reduce3, conv3, reduce5, conv5, pool = branches
        # The three 1x1 convolutions on the module's input are one multiplication instead of three.
        self.entry = nn.Conv2d(inputs, direct + reduce3 + reduce5, 1)
        self.conv3x3 = nn.Conv2d(reduce3, conv3, 3, padding=1)
        self.conv5x5 = nn.Conv2d(reduce5, conv5, 5, padding=2)
        self.pool_proj = nn.Conv2d(inputs, pool, 1)
        self.widths = [direct, reduce3, reduce5]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, inputs, H, W)`` to ``(N, sum of branches, H, W)``."""
        direct, narrow3, narrow5 = F.relu(self.entry(x)).split(self.widths, dim=1)
        pooled = self.pool_proj(F.max_pool2d(x, 3, stride=1, padding=1))
        joined = torch.cat([self.conv3x3(narrow3), self.conv5x5(narrow5), pooled], dim=1)
        return torch.cat([direct, F.relu(joined)], dim=1)


class GoogLeNet(nn.Module):
    """The network on BGR images in 0..255 minus the data set's mean; gives 1000 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.norm1 = LocalResponseNorm(64)
        self.conv2_reduce = nn.Conv2d(64, 64, 1)
        self.conv2 = nn.Conv2d(64, 192, 3, padding=1)
        self.norm2 = LocalResponseNorm(192)
        self.inception = nn.ModuleDict()
        width = 192
        for name, branches in MODULES.items():
            self.inception[name] = InceptionModule(width, branches)
            width = branches[0] + branches[2] + branches[4] + branches[5]
        self.classifier = nn.Linear(width, 1000)

    def features(self, x: Tensor) -> Tensor:
        """The 1024 features ``(N, 1024)`` before the classifier."""
        x = _pool(F.relu(self.conv1(x)))
        x = F.relu(self.conv2_reduce(self.norm1(x)))
        x = _pool(self.norm2(F.relu(self.conv2(x))))
        for name, module in self.inception.items():
            x = module(x)
            if name in ("3b", "4e"):
                x = _pool(x)
        return x.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, 1000)`` of preprocessed images ``(N, 3, 224, 224)``."""
        return self.classifier(self.features(x))

    def load_caffe(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the tensors of the Caffe release, named ``inception3a.reduce3x3.weight`` and so on.

        Raises:
            KeyError: a tensor is missing.
            RuntimeError: a tensor has another shape or there are too many.
        """
        state = {key: value for key, value in tensors.items() if not key.startswith("inception")}
        for name in MODULES:
            source, target = f"inception{name}", f"inception.{name}"
            for part in ("weight", "bias"):
                entry = [
                    tensors[f"{source}.{branch}.{part}"]
                    for branch in ("conv1x1", "reduce3x3", "reduce5x5")
                ]
                state[f"{target}.entry.{part}"] = torch.cat(entry)
                for branch in ("conv3x3", "conv5x5", "pool_proj"):
                    state[f"{target}.{branch}.{part}"] = tensors[f"{source}.{branch}.{part}"]
        self.load_state_dict(state)


def caffe_names() -> list[str]:
    """The names of the Caffe release's tensors."""
    branches = ("conv1x1", "reduce3x3", "conv3x3", "reduce5x5", "conv5x5", "pool_proj")
    layers = [
        *("conv1", "conv2_reduce", "conv2", "classifier"),
        *(f"inception{name}.{branch}" for name in MODULES for branch in branches),
    ]
    return [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]


def _pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=2, ceil_mode=True)


class GoogLeNetModel(ModelKind):
    """BVLC GoogLeNet, the paper's network, from the weights of its Caffe release."""

    needs_weights = True

    def build(self, name: str, checkpoint: Checkpoint | None) -> Model:
        """See `ModelKind.build`."""
        assert checkpoint is not None  # needs_weights
        network = GoogLeNet()
        tensors = checkpoint.select(caffe_names())
        with checkpoint.architecture():
            network.load_caffe(tensors)
        return Model(network, NORMALISATIONS["caffe"], 224)
