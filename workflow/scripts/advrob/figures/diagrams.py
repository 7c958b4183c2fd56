"""A page to draw networks on: layers as blocks, boxes and arrows."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon

from advrob.figures.layers import GREEN, Layer, count, sizes
from advrob.figures.plotting import GREY

Point = tuple[float, float]

# Inches: the largest block. How far a block reaches back, as a share of its height.
TALLEST, WIDEST, SLANT = 0.9, 0.42, 0.16


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

    def hourglass(self, centre: Point, width: float, height: float, share: float) -> None:
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
