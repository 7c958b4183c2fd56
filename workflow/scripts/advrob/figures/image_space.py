"""How attacked images lie in image space: four charts of one model."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from advrob.figures.plotting import COLOURS, GREY, LIGHT, WIDTH
from advrob.findings.image_space import Analysis, outside

# The points of a curve over thousands of components are at most so many.
POINTS = 200
ORIGINAL = "#000000"
COLUMNS = ("panel", "series", "x", "value", "low", "high")

Point = tuple[str, str, str | int, float, float, float]


def points(analysis: Analysis) -> list[Point]:
    """What the figure draws, rows of a CSV whose header is `COLUMNS`.

    ``low`` and ``high`` are quartiles over the images, beside the median; nan where there are none.
    """
    none = float("nan")
    rows: list[Point] = []
    steps = np.geomspace(1, analysis.components, POINTS).round().astype(int)
    for name, cumulative in analysis.energies():
        rows += [
            ("energy", name, int(count), cumulative[count - 1], none, none)
            for count in np.unique(steps)
        ]
    for name, spectrum in analysis.spectra():
        rows += [
            ("singular values", name, index, value, none, none)
            for index, value in enumerate(spectrum, start=1)
        ]
    for a, attack in enumerate(analysis.attacks):
        rows += [
            ("relative", attack, space, *_quartiles(analysis.values["relative"][a, s]))
            for s, space in enumerate(analysis.spaces)
        ]
        rows += [
            ("retained", attack, defence, *_quartiles(analysis.values["retained"][f, a]))
            for f, defence in enumerate(analysis.defences)
        ]
    return rows


def chart(analysis: Analysis, rows: Sequence[Point]) -> Figure:
    """Four panels: energy, normals, distances, defences.

    Args:
        analysis: names and counts for the labels.
        rows: its `points`.
    """
    figure = Figure(figsize=(WIDTH, 6.6), layout="constrained")
    energy, normals, distance, defence = figure.subplots(2, 2).flat
    colours = {"original": ORIGINAL, **dict(zip(analysis.attacks, COLOURS, strict=False))}
    _draw_energy(energy, analysis, rows, colours)
    _draw_normals(normals, analysis, rows)
    _draw_quartiles(distance, rows, "relative", analysis.attacks, colours)
    distance.set(
        title="Distance of attacked from original images",
        ylabel="ℓ2 as a share of the original's",
        yscale="log",
    )
    distance.legend()
    _draw_quartiles(defence, rows, "retained", analysis.attacks, colours)
    defence.set(
        title="What a defence leaves of a perturbation",
        ylabel="ℓ2 as a share of the perturbation's",
    )
    defence.set_ylim(0, None)
    for axes in (energy, normals, distance, defence):
        axes.grid(axis="y", color=LIGHT, linewidth=0.5)
        axes.set_axisbelow(True)
    figure.suptitle(f"{analysis.model}, {analysis.photographs:,} photographs", fontsize=9)
    return figure


def _draw_energy(
    axes: Axes, analysis: Analysis, rows: Sequence[Point], colours: Mapping[str, str]
) -> None:
    for name, cumulative in analysis.energies():
        x, y, *_ = _series(rows, "energy", name)
        axes.plot(x, 100 * y, color=colours[name], label=f"{name}, {outside(cumulative)} % outside")
    axes.set(
        title="Energy along the principal components",
        xlabel="Number of components",
        ylabel="Share of the energy, %",
        xscale="log",
        yscale="log",
        ylim=(100 / analysis.numbers, 150),
    )
    expected = 100 * np.array([1, analysis.components]) / analysis.numbers
    axes.plot((1, analysis.components), expected, ":", color=GREY, label="random directions, mean")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=7)


def _draw_normals(axes: Axes, analysis: Analysis, rows: Sequence[Point]) -> None:
    for (name, _), colour in zip(analysis.spectra(), (COLOURS[3], GREY), strict=True):
        x, y, *_ = _series(rows, "singular values", name)
        axes.plot(x, y, color=colour, label=name)
    axes.set(
        title="Unit normals to the decision boundary",
        xlabel="Index",
        ylabel="Singular value",
    )
    axes.legend()


def _draw_quartiles(
    axes: Axes,
    rows: Sequence[Point],
    panel: str,
    attacks: Sequence[str],
    colours: Mapping[str, str],
) -> None:
    """Medians and quartiles side by side over names."""
    for index, attack in enumerate(attacks):
        names, value, low, high = _series(rows, panel, attack)
        shift = 0.2 * (index - (len(attacks) - 1) / 2)
        bars = np.stack((value - low, high - value))
        axes.errorbar(
            np.arange(len(names)) + shift, value, bars, fmt="o", color=colours[attack], label=attack
        )
    axes.set_xticks(range(len(names)), names, rotation=20 if len(names) > 3 else 0)


def _series(rows: Iterable[Point], panel: str, series: str) -> tuple[np.ndarray, ...]:
    """Columns x, value, low and high of one series."""
    points = [point[2:] for point in rows if point[:2] == (panel, series)]
    return tuple(np.array(column) for column in zip(*points, strict=True))


def _quartiles(values: np.ndarray) -> tuple[float, float, float]:
    """The median and the quartiles around it, of the values that are numbers."""
    low, median, high = np.nanquantile(values, (0.25, 0.5, 0.75))
    return float(median), float(low), float(high)
