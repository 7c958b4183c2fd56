"""Diagrams of networks, drawn from what the networks really do.

A module is run once and asked for its layers' kinds, output shapes and parameters; no shape in a
diagram is written by hand.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from textwrap import shorten
from typing import Any

import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from advrob.figures.plotting import COLOURS, GREY
from advrob.training.multitask import MultiTaskNetwork

Point = tuple[float, float]

BLUE, ORANGE, GREEN, PURPLE = COLOURS[0], COLOURS[4], COLOURS[2], COLOURS[3]
# Readable names of layers whose class says it otherwise.
NAMES = {
    "Conv2d": "convolution",
    "ConvTranspose2d": "transposed conv.",
    "Linear": "linear",
    "BatchNorm2d": "batch norm.",
    "LeakyReLU": "leaky ReLU",
    "MaxPool2d": "max. pooling",
    "AvgPool2d": "mean pooling",
    "AdaptiveAvgPool2d": "mean pooling",
    "Upsample": "upsampling",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "BatchNormAct2d": "batch norm.\nactivation",
    "DepthwiseSeparableConv": "depthwise\nseparable conv.",
    "InvertedResidual": "inverted\nresidual",
}
# Layers that change no value.
RESHAPES = ("Flatten", "Unflatten", "Identity")
# Inches: the largest block. How far a block reaches back, as a share of its height.
TALLEST, WIDEST, SLANT = 0.9, 0.42, 0.16


@dataclass(frozen=True)
class Layer:
    """One step of a network, or several of which only the first does more than look at each value.

    Attributes:
        path: the name of the (first) module in the network, parts separated by dots.
        operations: what it does, for a reader; the first names the layer.
        shape: of the output for one example.
        parameters: learned numbers that no earlier layer has.
        colour: of its kind.
    """

    path: str
    operations: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: int
    colour: str = GREY


def trace(
    module: nn.Module,
    *inputs: Tensor,
    depth: int | None = None,
    call: Callable[..., Any] | None = None,
) -> list[Layer]:
    """Run a module and list the layers that it goes through, in order.

    A layer is a module without parts of its own, or with weights of its own. Normalisations,
    activations and reshapes are counted to the layer before them. A layer that is run twice is
    listed twice, its parameters once.

    Args:
        module: what to run; on the ``meta`` device this costs nothing.
        inputs: tensors whose first axis is the batch.
        depth: how many levels of parts to look into: what lies at this level is one layer.
        call: what to run in the module's place, one of its methods.
    """
    found: list[tuple[Layer, bool]] = []
    counted: set[int] = set()

    def record(path: str, part: nn.Module, output: Tensor) -> None:
        fresh = [weights for weights in part.parameters() if id(weights) not in counted]
        counted.update(map(id, fresh))
        name = type(part).__name__
        layer = Layer(
            path,
            () if name in RESHAPES else (_describe(part),),
            tuple(output.shape[1:]),
            sum(weights.numel() for weights in fresh),
            _colour(part),
        )
        # Weights of one axis scale or shift; those of two or more mix values.
        mixes = any(weights.ndim > 1 for weights in part.parameters())
        found.append((layer, mixes))

    hooks = [
        part.register_forward_hook(lambda part, _, output, path=path: record(path, part, output))
        for path, part in _units(module, depth)
    ]
    try:
        with torch.inference_mode():
            (call or module)(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return _fold(found)


def narrowest(module: nn.Module, images: Tensor) -> tuple[int, ...]:
    """The smallest shape, for one image, that images pass through inside a module.

    Args:
        module: images to images; need not consist of layers.
        images: ``(N, 3, H, W)``, N unlike any other length inside the module.
    """
    shapes = [tuple(images.shape[1:])]

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = function(*args, **(kwargs or {}))
            if (
                isinstance(result, Tensor)
                and result.requires_grad
                and result.ndim > 1
                and len(result) == len(images)
            ):
                shapes.append(tuple(result.shape[1:]))
            return result

    # What is drawn or looked up does not depend on the images, and is no part of their way.
    with Watch():
        module(images.clone().requires_grad_())
    return min(shapes, key=math.prod)


def trace_tasks(network: MultiTaskNetwork, images: Tensor) -> tuple[list[Layer], list[Layer]]:
    """The layers of a multi-task network's trunk, down to its stages, and its heads.

    Args:
        network: what to run.
        images: ``(N, 3, H, W)``, on the network's device.
    """
    layers = trace(network, images, depth=3, call=network.tasks)
    own = [
        replace(layer, path=layer.path.removeprefix("network."))
        for layer in layers
        if layer.path.startswith("network.")
    ]
    # The network's last layer is the main task's head.
    return own[:-1], [replace(own[-1], path="class"), *layers[len(own) :]]


def together(layers: Sequence[Layer], name: str) -> Layer:
    """Several layers as one of a given name."""
    return Layer(name, (name,), layers[-1].shape, sum(layer.parameters for layer in layers))


class Drawing:
    """A page to draw on, in inches from the lower left corner.

    Args:
        width: of the page.
        height: of the page.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
        self.axes.set_axis_off()

    def text(self, x: float, y: float, text: str, size: float = 7, **style: Any) -> None:
        """Write a text, centred on a point unless ``ha`` and ``va`` say otherwise."""
        self.axes.text(x, y, text, **{"size": size, "ha": "center", "va": "center", **style})

    def heading(self, y: float, text: str) -> None:
        """Write a heading at the left margin."""
        self.text(0.15, y, text, 10, ha="left", weight="bold")

    def arrow(self, start: Point, end: Point) -> None:
        """Draw a straight arrow."""
        self.axes.add_patch(
            FancyArrowPatch(
                start,
                end,
                arrowstyle="-|>",
                mutation_scale=6,
                shrinkA=0,
                shrinkB=0,
                color=GREY,
                linewidth=0.8,
            )
        )

    def box(
        self,
        centre: Point,
        width: float,
        height: float,
        lines: Sequence[str],
        colour: str = GREY,
        *,
        shift: float = 0,
    ) -> None:
        """Draw a rounded box with a heading and lines below it, ``shift`` right of its centre."""
        x, y = centre
        self.axes.add_patch(
            FancyBboxPatch(
                (x - width / 2, y - height / 2),
                *(width, height),
                boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=_tint(colour, 0.14),
                edgecolor=colour,
                linewidth=0.8,
            )
        )
        step = 0.135
        for number, line in enumerate(lines):
            offset = (len(lines) - 1) / 2 - number
            style = {"weight": "bold", "size": 7.5} if number == 0 else {"size": 6.5}
            self.text(x + shift, y + offset * step, line, **style)

    def chain(
        self, layers: Sequence[Layer], left: float, middle: float, *, pitch: float = 0.92
    ) -> float:
        """Draw layers as blocks of their output's shape, from left to right, joined by arrows.

        A block's height is the square root of its side, its width that of its channels. Above it
        is the shape, below what the layer does and its parameters; parts of the network that hold
        several layers are marked by a brace.

        Args:
            layers: from `trace`.
            left: where the first layer's column begins.
            middle: the height of the blocks' centres.
            pitch: the width of a column.

        Returns:
            The right end of the last block.
        """
        end = left
        for number, layer in enumerate(layers):
            centre = left + (number + 0.5) * pitch
            wide, high = _extent(layer.shape)
            if number:
                slant = SLANT * high
                self.arrow((end + 0.03, middle), (centre - (wide + slant) / 2 - 0.03, middle))
            end = self._block((centre, middle), wide, high, layer.colour)
            self.text(centre, middle + TALLEST / 2 + 0.24, sizes(layer.shape), weight="bold")
            lines = [*layer.operations, *([count(layer.parameters)] if layer.parameters else [])]
            self.text(
                centre, middle - TALLEST / 2 - 0.16, "\n".join(lines), 6, va="top", linespacing=1.25
            )
        for part, members in groupby(enumerate(layers), lambda item: item[1].path.split(".")[0]):
            numbers = [number for number, _ in members]
            if part and len(numbers) > 1:
                self._brace(
                    left + numbers[0] * pitch + 0.08,
                    left + (numbers[-1] + 1) * pitch - 0.08,
                    middle + TALLEST / 2 + 0.4,
                    part.replace("_", " "),
                )
        return end

    def tasks(self, left: float, middle: float, trunk: Layer, heads: Sequence[Layer]) -> None:
        """Draw a multi-task network: its trunk, and the heads that share it, main task first.

        Args:
            left: where the trunk begins.
            middle: the height of its centre.
            trunk: all of it as one layer.
            heads: the layers after it.
        """
        wide, head_wide, high, step, gap = 1.05, 1.1, 0.44, 0.54, 0.35
        lines = (*trunk.operations, sizes(trunk.shape), count(trunk.parameters))
        self.box((left + wide / 2, middle), wide, 0.6, lines, BLUE)
        start = left + wide
        for number, head in enumerate(heads):
            y = middle + ((len(heads) - 1) / 2 - number) * step
            self.arrow((start + 0.03, middle), (start + gap - 0.03, y))
            lines = (head.path.removeprefix("heads."), f"{sizes(head.shape)} outputs")
            colour = PURPLE if number else ORANGE
            self.box((start + gap + head_wide / 2, y), head_wide, high, lines, colour)

    def defended(
        self,
        defences: Mapping[str, tuple[Mapping[str, Any], tuple[int, ...]]],
        shape: tuple[int, ...],
        model: Layer,
        top: float,
    ) -> None:
        """Draw images that reach one model through each of several defences.

        The hourglass beside a defence has a neck as narrow as the square root of the share of
        numbers that pass through it.

        Args:
            defences: name -> settings and narrowest shape inside.
            shape: of an image.
            model: all of it as one layer; its operations are its lines.
            top: the upper edge.
        """
        row, tall = 0.66, 0.66 * len(defences) - 0.12
        middle = top - row * len(defences) / 2
        self.box((0.6, middle), 0.9, tall, ("image", sizes(shape)))
        lines = (*model.operations, count(model.parameters))
        self.box((5.7, middle), 1.4, tall, lines, BLUE)
        self.box((7.1, middle), 0.7, 0.54, ("logits", sizes(model.shape)))
        self.arrow((6.43, middle), (6.72, middle))
        for number, (name, (settings, code)) in enumerate(defences.items()):
            y = top - row * (number + 0.5)
            about = [name.replace("_", " ")]
            if options := [_option(*item) for item in settings.items() if item[0] != "kind"]:
                text = ", ".join(options).replace("_", " ")
                about.append(shorten(text, 50, placeholder=" …"))
            share = math.prod(code) / math.prod(shape)
            if share < 1:
                about.append(f"{sizes(shape)} → {sizes(code)} → {sizes(shape)}")
            self.arrow((1.08, y), (1.37, y))
            self.box((3.0, y), 3.2, 0.54, about, GREEN, shift=0.2)
            self._hourglass((1.75, y), 0.4, 0.36, share**0.5)
            self.arrow((4.63, y), (4.97, y))

    def adversarial_training(
        self, generator: Layer, model: Layer, latent: int, middle: float
    ) -> None:
        """Draw a model that trains on images with and without a generator's perturbations.

        Args:
            generator: all of it as one layer.
            model: all of it as one layer; its operations are its lines.
            latent: length of the generator's random vectors.
            middle: the height of the row's centre.
        """
        lines = (*generator.operations, sizes(generator.shape), count(generator.parameters))
        self.box((0.6, middle), 0.9, 0.54, ("vector", str(latent)))
        self.arrow((1.08, middle), (1.37, middle))
        self.box((2.1, middle), 1.4, 0.6, lines, ORANGE)
        self.arrow((2.83, middle), (3.12, middle))
        self.box((3.8, middle), 1.3, 0.54, ("image", "with and without it"))
        self.arrow((4.48, middle), (4.97, middle))
        lines = (*model.operations, count(model.parameters))
        self.box((5.7, middle), 1.4, 0.6, lines, BLUE)
        self.arrow((6.43, middle), (6.72, middle))
        self.box((7.1, middle), 0.7, 0.54, ("logits", sizes(model.shape)))

    def _hourglass(self, centre: Point, width: float, height: float, share: float) -> None:
        """Draw a box whose waist is ``share`` of its height."""
        x, y = centre
        waist = max(share, 0.06)
        corners = [(-1, 1), (0, waist), (1, 1), (1, -1), (0, -waist), (-1, -1)]
        self.axes.add_patch(
            Polygon(
                [(x + a * width / 2, y + b * height / 2) for a, b in corners],
                facecolor=_tint(GREEN, 0.4),
                edgecolor=GREEN,
                linewidth=0.8,
                joinstyle="round",
            )
        )

    def _block(self, centre: Point, width: float, height: float, colour: str) -> float:
        """A cuboid seen from the front left; returns its right end."""
        x, y = centre[0] - width / 2, centre[1] - height / 2
        slant = SLANT * height
        front = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
        right = (front[1], (x + width + slant, y + slant), (x + width + slant, y + height + slant))
        for corners, strength in (
            (front, 0.3),
            ((*right, front[2]), 0.6),
            ((front[3], front[2], right[2], (x + slant, y + height + slant)), 0.45),
        ):
            self.axes.add_patch(
                Polygon(
                    [(a - slant / 2, b - slant / 2) for a, b in corners],
                    facecolor=_tint(colour, strength),
                    edgecolor=colour,
                    linewidth=0.6,
                    joinstyle="round",
                )
            )
        return x + width + slant / 2

    def _brace(self, left: float, right: float, y: float, label: str) -> None:
        self.axes.plot(
            (left, left, right, right), (y, y + 0.05, y + 0.05, y), color=GREY, linewidth=0.8
        )
        self.text((left + right) / 2, y + 0.16, label, 8)


def image(shape: Sequence[int], name: str = "image") -> Layer:
    """What a network starts from, as the first block of a chain."""
    return Layer("", (name,), tuple(shape), 0)


def sizes(shape: Sequence[int]) -> str:
    """A shape for a reader, such as ``3×224×224``."""
    return "×".join(map(str, shape)) or "1"


def count(parameters: int) -> str:
    """A number of parameters to three digits, such as ``4.65 M parameters``."""
    for unit, suffix in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if parameters >= unit:
            return f"{parameters / unit:#.3g}".rstrip(".") + f"{suffix} parameters"
    return f"{parameters} parameters"


def _option(key: str, value: Any) -> str:
    """A defence's parameter for a reader; a chain's members by their kinds."""
    if key == "defences":
        return " → ".join(member["kind"] for member in value)
    return f"{key} {value}"


def _units(module: nn.Module, depth: int | None, path: str = "") -> list[tuple[str, nn.Module]]:
    """The parts of a module that are layers, with their paths."""
    children = list(module.named_children())
    if not children or depth == 0 or list(module.parameters(recurse=False)):
        return [(path, module)]
    below = None if depth is None else depth - 1
    return [
        unit
        for name, child in children
        for unit in _units(child, below, f"{path}.{name}" if path else name)
    ]


def _fold(found: Sequence[tuple[Layer, bool]]) -> list[Layer]:
    layers: list[Layer] = []
    for layer, mixes in found:
        before = layers[-1] if layers else None
        if before and not mixes and math.prod(before.shape) == math.prod(layer.shape):
            layers[-1] = replace(
                before,
                operations=before.operations + layer.operations,
                shape=layer.shape,
                parameters=before.parameters + layer.parameters,
            )
        else:
            layers.append(layer)
    return layers


def _describe(part: nn.Module) -> str:
    """A layer's name with its kernel, and with its stride where that is not one."""
    if isinstance(part, nn.Sequential):
        return (f"{len(part)} × " if len(part) > 1 else "") + _describe(part[0])
    kinds = [kind.__name__ for kind in type(part).__mro__]
    name = next((NAMES[kind] for kind in kinds if kind in NAMES), kinds[0])
    kernel, stride = (_side(getattr(part, key, None)) for key in ("kernel_size", "stride"))
    if kernel:
        name += f"\n{kernel}×{kernel}"
        if stride and stride != 1:
            name += f", stride {stride}"
    return name


def _side(value: int | Sequence[int] | None) -> int | None:
    return value if isinstance(value, int) or value is None else value[0]


def _colour(part: nn.Module) -> str:
    kind = type(part).__name__
    if "Transpose" in kind or "Up" in kind or "Unpool" in kind:
        return ORANGE
    if "Pool" in kind:
        return GREEN
    return PURPLE if isinstance(part, nn.Linear) else BLUE


def _extent(shape: Sequence[int]) -> tuple[float, float]:
    """Width and height of a block in inches."""
    if len(shape) != 3:
        return 0.09, min(TALLEST, 0.1 + 0.02 * math.prod(shape) ** 0.5)
    channels, height = shape[0], shape[1]
    return min(WIDEST, 0.03 + 0.018 * channels**0.5), TALLEST * min(1, (height / 224) ** 0.5)


def _tint(colour: str, strength: float) -> tuple[float, float, float]:
    """A colour mixed with white."""
    red, green, blue = (1 - strength * (1 - value) for value in to_rgb(colour))
    return red, green, blue
