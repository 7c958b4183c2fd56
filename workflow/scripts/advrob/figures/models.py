"""Diagrams of whole models: multi-task networks, and all models of the paper."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from advrob.figures.diagrams import Drawing
from advrob.figures.layers import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    Layer,
    count,
    sizes,
    together,
    trace,
)
from advrob.training import multitask
from advrob.training.gan import Generator
from advrob.training.multitask import MultiTaskNetwork


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


def overview(
    model: str,
    classifier: Layer,
    defences: Mapping[str, tuple[Mapping[str, Any], tuple[int, ...]]],
    *,
    architecture: str,
    tasks: Sequence[str],
    size: int,
) -> Drawing:
    """Draw a model behind each defence, and those that are to be robust by their training.

    Args:
        model: the model's name in the configuration.
        classifier: all of it as one layer.
        defences: name -> entry and narrowest shape inside.
        architecture: the multi-task network's trunk, in timm.
        tasks: its auxiliary tasks.
        size: side of the images in pixels.
    """
    # On this device modules and tensors have shapes but no values.
    with torch.device("meta"):
        generator = Generator(size=size)
        network = multitask.build(architecture, dict.fromkeys(tasks)).eval()
        vectors, images = torch.empty(2, generator.latent), torch.empty(2, 3, size, size)
    trunk, heads = trace_tasks(network, images)

    # Inches: the rows of the lower half, from below.
    multitask_row = 0.1 + 0.27 * len(heads)
    adversarial_row = 2 * multitask_row + 0.35
    middle = adversarial_row + 0.65
    drawing = Drawing(7.6, middle + 0.66 * len(defences) + 0.7)
    drawing.heading(drawing.height - 0.2, "Reactive: a defence in front of a pretrained model")
    _draw_defended(
        drawing,
        defences,
        (3, size, size),
        replace(classifier, operations=(model, "unchanged")),
        drawing.height - 0.4,
    )
    drawing.heading(middle, "Preventive: a model that is trained to be robust")
    _draw_adversarial_training(
        drawing,
        together(trace(generator, vectors), "generator"),
        replace(classifier, operations=(model, "trained on both")),
        generator.latent,
        adversarial_row,
    )
    drawing.box((0.6, multitask_row), 0.9, 0.54, ("image", sizes((3, size, size))))
    drawing.arrow((1.08, multitask_row), (1.37, multitask_row))
    draw_tasks(drawing, 1.4, multitask_row, together(trunk, "shared trunk"), heads)
    return drawing


def draw_tasks(
    drawing: Drawing, left: float, middle: float, trunk: Layer, heads: Sequence[Layer]
) -> None:
    """Draw a multi-task network: its trunk, and the heads that share it, main task first.

    Args:
        left: where the trunk begins.
        middle: the height of its centre.
        trunk: all of it as one layer.
        heads: the layers after it.
    """
    wide, head_wide, high, step, gap = 1.05, 1.1, 0.44, 0.54, 0.35
    lines = (*trunk.operations, sizes(trunk.shape), count(trunk.parameters))
    drawing.box((left + wide / 2, middle), wide, 0.6, lines, BLUE)
    start = left + wide
    for number, head in enumerate(heads):
        y = middle + ((len(heads) - 1) / 2 - number) * step
        drawing.arrow((start + 0.03, middle), (start + gap - 0.03, y))
        lines = (head.path.removeprefix("heads."), f"{sizes(head.shape)} outputs")
        colour = PURPLE if number else ORANGE
        drawing.box((start + gap + head_wide / 2, y), head_wide, high, lines, colour)


def _draw_defended(
    drawing: Drawing,
    defences: Mapping[str, tuple[Mapping[str, Any], tuple[int, ...]]],
    shape: tuple[int, ...],
    model: Layer,
    top: float,
) -> None:
    """Draw images that reach one model through each of several defences.

    The hourglass beside a defence has a neck as narrow as the square root of the share of
    numbers that pass through it.

    Args:
        defences: name -> entry and narrowest shape inside.
        shape: of an image.
        model: all of it as one layer; its operations are its lines.
        top: the upper edge.
    """
    row, tall = 0.66, 0.66 * len(defences) - 0.12
    middle = top - row * len(defences) / 2
    drawing.box((0.6, middle), 0.9, tall, ("image", sizes(shape)))
    lines = (*model.operations, count(model.parameters))
    drawing.box((5.7, middle), 1.4, tall, lines, BLUE)
    drawing.box((7.1, middle), 0.7, 0.54, ("logits", sizes(model.shape)))
    drawing.arrow((6.43, middle), (6.72, middle))
    for number, (name, (entry, code)) in enumerate(defences.items()):
        y = top - row * (number + 0.5)
        about = [name.replace("_", " ")]
        if options := [_option(*item) for item in entry.items() if item[0] != "kind"]:
            text = ", ".join(options).replace("_", " ")
            about.append(shorten(text, 50, placeholder=" …"))
        share = math.prod(code) / math.prod(shape)
        if share < 1:
            about.append(f"{sizes(shape)} → {sizes(code)} → {sizes(shape)}")
        drawing.arrow((1.08, y), (1.37, y))
        drawing.box((3.0, y), 3.2, 0.54, about, GREEN, shift=0.2)
        drawing.hourglass((1.75, y), 0.4, 0.36, share**0.5)
        drawing.arrow((4.63, y), (4.97, y))


def _draw_adversarial_training(
    drawing: Drawing, generator: Layer, model: Layer, latent: int, middle: float
) -> None:
    """Draw a model that trains on images with and without a generator's perturbations.

    Args:
        generator: all of it as one layer.
        model: all of it as one layer; its operations are its lines.
        latent: length of the generator's random vectors.
        middle: the height of the row's centre.
    """
    lines = (*generator.operations, sizes(generator.shape), count(generator.parameters))
    drawing.box((0.6, middle), 0.9, 0.54, ("vector", str(latent)))
    drawing.arrow((1.08, middle), (1.37, middle))
    drawing.box((2.1, middle), 1.4, 0.6, lines, ORANGE)
    drawing.arrow((2.83, middle), (3.12, middle))
    drawing.box((3.8, middle), 1.3, 0.54, ("image", "with and without it"))
    drawing.arrow((4.48, middle), (4.97, middle))
    lines = (*model.operations, count(model.parameters))
    drawing.box((5.7, middle), 1.4, 0.6, lines, BLUE)
    drawing.arrow((6.43, middle), (6.72, middle))
    drawing.box((7.1, middle), 0.7, 0.54, ("logits", sizes(model.shape)))


def _option(key: str, value: Any) -> str:
    """A defence's parameter for a reader; a chain's members by their kinds."""
    if key == "defences":
        return " → ".join(member["kind"] for member in value)
    return f"{key} {value}"
