"""Layers of networks, as the networks have them when they run.

A module is run once and asked for its layers' kinds, output shapes and parameters; no shape in a
diagram is written by hand.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from advrob.figures.plotting import COLOURS, GREY

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
# Images that `narrowest` runs: unlike any other length inside a network.
BATCH = 5


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
    steps: list[tuple[Layer, bool]] = []
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
        steps.append((layer, mixes))

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
    return _fold(steps)


def whole(module: nn.Module, shape: Sequence[int], device: torch.device) -> Layer:
    """A network as one layer.

    Args:
        module: images to logits.
        shape: of an image, ``(3, H, W)``.
        device: where the module is.
    """
    (layer,) = trace(module, torch.zeros(1, *shape, device=device), depth=0)
    return layer


def narrowest(module: nn.Module, shape: Sequence[int], device: torch.device) -> tuple[int, ...]:
    """The smallest shape, for one image, that images pass through inside a module.

    Args:
        module: images to images; need not consist of layers.
        shape: of an image, ``(3, H, W)``.
        device: where the module is.
    """
    shapes = [tuple(shape)]

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = function(*args, **(kwargs or {}))
            if (
                isinstance(result, Tensor)
                # What is drawn or looked up does not depend on the images.
                and result.requires_grad
                and result.ndim > 1
                and len(result) == BATCH
            ):
                shapes.append(tuple(result.shape[1:]))
            return result

    images = torch.zeros(BATCH, *shape, device=device, requires_grad=True)
    with Watch():
        # A leaf must not be changed in place.
        module(images.clone())
    return min(shapes, key=math.prod)


def together(layers: Sequence[Layer], name: str) -> Layer:
    """Several layers as one of a given name."""
    return Layer(name, (name,), layers[-1].shape, sum(layer.parameters for layer in layers))


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


def _fold(steps: Sequence[tuple[Layer, bool]]) -> list[Layer]:
    """Count layers to the one before them unless they mix values or change how many there are."""
    layers: list[Layer] = []
    for layer, mixes in steps:
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
