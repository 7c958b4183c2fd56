"""Charts of accuracy as one quantity grows: curves with bands, and what they are compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from advrob.figures.plotting import GREY, LIGHT
from advrob.findings.metrics import Accuracy
from advrob.findings.tables import Value


@dataclass(frozen=True)
class Curve:
    """Accuracy as one quantity grows.

    Attributes:
        names: what the curve is of: a column of the CSV -> its value in each of the curve's rows.
        x: the quantity's column in the CSV.
        xs: its values, ascending.
        results: the accuracy at each.
        details: further columns whose values differ along the curve, one list a column.
    """

    names: Mapping[str, Value]
    x: str
    xs: Sequence[float]
    results: Sequence[Accuracy]
    details: Mapping[str, Sequence[Value]] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The header of the CSV."""
        return (*self.names, *self.details, self.x, "n", "accuracy", "ci_low", "ci_high")

    def rows(self) -> list[tuple[Value, ...]]:
        """Rows of the CSV, one a value of the quantity."""
        return [
            (*self.names.values(), *details, x, result.n, result.accuracy, result.low, result.high)
            for x, result, *details in zip(
                self.xs, self.results, *self.details.values(), strict=True
            )
        ]


@dataclass(frozen=True)
class Line:
    """A curve as it is drawn.

    Attributes:
        curve: what to draw.
        label: in the legend.
        colour: of the line, and of the band that is its intervals.
        style: marker and dashes, as in `matplotlib.axes.Axes.plot`.
    """

    curve: Curve
    label: str
    colour: str
    style: str = "o-"


@dataclass(frozen=True)
class Level:
    """An accuracy that has no place along the axis, drawn as a horizontal line."""

    accuracy: float
    label: str
    colour: str = GREY
    style: str = "--"


@dataclass(frozen=True)
class Published:
    """Published accuracies, drawn as grey marks."""

    xs: Sequence[float]
    accuracies: Sequence[float]
    label: str
    marker: str


def draw(
    items: Sequence[Line | Level | Published],
    *,
    x_label: str,
    title: str,
    scale: Literal["linear", "log", "even"] = "linear",
    steps: bool = False,
) -> Figure:
    """Draw curves, their 95 % Wilson intervals as bands, and what they are compared with.

    Args:
        items: in the order of the legend.
        x_label: of the axis of the quantity that grows.
        title: the figure's title.
        scale: of that axis. All but a linear one have a tick at each value of a curve; ``even``
            puts these at equal distances.
        steps: whether accuracy falls in steps, each just beyond a value, not along straight lines.
    """
    figure = Figure(figsize=(5.6, 4), layout="constrained")
    axes = figure.add_subplot()
    ticks = sorted({x for item in items if isinstance(item, Line) for x in item.curve.xs})
    for item in items:
        if isinstance(item, Line):
            xs = [ticks.index(x) for x in item.curve.xs] if scale == "even" else item.curve.xs
            _draw_line(axes, item, xs, steps=steps)
        elif isinstance(item, Level):
            axes.axhline(
                100 * item.accuracy,
                color=item.colour,
                linestyle=item.style,
                linewidth=1,
                label=item.label,
                # What others published lies behind what is measured here.
                zorder=1 if item.colour == GREY else 2,
            )
        else:
            percent = [100 * accuracy for accuracy in item.accuracies]
            axes.plot(item.xs, percent, item.marker, color=GREY, markersize=6, label=item.label)
    if scale == "even":
        axes.set_xticks(range(len(ticks)), [_tick(tick) for tick in ticks])
    elif scale == "log":
        axes.set_xscale("log")
        axes.set_xticks(ticks, [_tick(tick) for tick in ticks], rotation=45)
        axes.set_xticks([], minor=True)
    axes.set(xlabel=x_label, ylabel="Accuracy, %", ylim=(0, 100), title=title)
    if scale != "log":
        axes.margins(x=0.02)
    axes.grid(axis="y", color=LIGHT, linewidth=0.5)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _draw_line(axes: Axes, line: Line, xs: Sequence[float], *, steps: bool) -> None:
    """Draw accuracies in percent, with a band for their intervals."""
    results = line.curve.results
    axes.fill_between(
        xs,
        [100 * result.low for result in results],
        [100 * result.high for result in results],
        color=line.colour,
        alpha=0.15,
        linewidth=0,
        step="pre" if steps else None,
    )
    axes.plot(
        xs,
        [100 * result.accuracy for result in results],
        line.style,
        color=line.colour,
        label=line.label,
        # Marks at 0 and 100 % are whole, too.
        clip_on=False,
        zorder=3,
        drawstyle="steps-pre" if steps else "default",
    )


def _tick(value: float) -> str:
    return f"{value:,.10g}"
