"""The look that every figure shares, how it is saved, and the charts.

Figures are made without pyplot, so nothing needs a screen and nothing is kept between them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from advrob.files import store
from advrob.findings import metrics, paper, tables
from advrob.findings.metrics import Accuracy

# Okabe and Ito (2008), told apart with every kind of colour vision, best on white first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
RIGHT, WRONG = COLOURS[:2]
GREY, LIGHT = "#595959", "#D9D9D9"

# Inches: the width of a page's text.
WIDTH = 7.2

matplotlib.rcdefaults()
matplotlib.rcParams.update(
    {
        "font.family": "DejaVu Sans",
        "font.size": 8,
        "axes.titlesize": 9,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": GREY,
        "axes.labelcolor": "black",
        "xtick.color": GREY,
        "ytick.color": GREY,
        "xtick.labelcolor": "black",
        "ytick.labelcolor": "black",
        "legend.frameon": False,
        "lines.linewidth": 1.4,
        "lines.markersize": 3.5,
        "pdf.fonttype": 42,
        # Letters of mathematical text from the same family.
        "mathtext.fontset": "dejavusans",
    }
)


def save(figure: Figure, *, pdf: str, png: str, dpi: float = 300) -> None:
    """Save a figure twice, without dates or versions, so that equal figures are equal bytes."""
    with store.replacing(pdf) as temporary:
        figure.savefig(temporary, format="pdf", metadata={"CreationDate": None, "Producer": None})
    with store.replacing(png) as temporary:
        figure.savefig(
            temporary,
            format="png",
            dpi=dpi,
            metadata={"Software": None},
            pil_kwargs={"compress_level": 9},
        )


@dataclass(frozen=True)
class Sweep:
    """Accuracies of one model on one data set as the noise grows.

    Attributes:
        model: the model's name.
        dataset: the data set's name.
        magnitudes: half-widths of the uniform noise, in units of 1/255, ascending.
        results: the accuracy at each.
    """

    model: str
    dataset: str
    magnitudes: Sequence[float]
    results: Sequence[Accuracy]

    def rows(self) -> list[tuple[str, str, float, int, float, float, float]]:
        """Rows of a CSV whose header is `SWEEP_COLUMNS`."""
        return [
            (self.model, self.dataset, magnitude, found.n, found.accuracy, found.low, found.high)
            for magnitude, found in zip(self.magnitudes, self.results, strict=True)
        ]


SWEEP_COLUMNS = ("model", "dataset", "magnitude", "n", "accuracy", "ci_low", "ci_high")


def read_sweep(path: str, pattern: str | None = None) -> Sweep:
    """The accuracies in a sweep file, over the images whose file name matches ``pattern``.

    Raises:
        UserError: no image matches.
    """
    with store.read(path, "sweep/1") as file:
        ids, correct = store.strings(file["ids"]), file["correct"][:]
        magnitudes = file["magnitudes"][:]
        made = store.params(file)
    keep, kept = tables.matching(path, ids, pattern)
    order = magnitudes.argsort()
    return Sweep(
        made["model"],
        made["dataset"],
        magnitudes[order].tolist(),
        [metrics.accuracy(row[keep], kept) for row in correct[order]],
    )


def sweep_chart(sweeps: Sequence[Sweep], undefended: Sequence[tables.Result], title: str) -> Figure:
    """Accuracy against the magnitude of the noise (the paper's Figures 11 and 12).

    A band is the 95 % Wilson interval, a dashed line the same model without a defence, grey lines
    the paper's two accuracies on such images.

    Args:
        sweeps: one a model.
        undefended: the scores of these models, without a defence, on the same data sets.
        title: the figure's title.
    """
    figure = Figure(figsize=(5.6, 4), layout="constrained")
    axes = figure.add_subplot()
    handles: list[Line2D] = []
    plain = {(result.model, result.dataset): result.accuracy.accuracy for result in undefended}
    for sweep, colour in zip(sweeps, COLOURS, strict=False):
        x = sweep.magnitudes
        handles += _curve(axes, x, sweep.results, "o-", colour, f"{sweep.model}, noise")
        if (level := plain.get((sweep.model, sweep.dataset))) is not None:
            label = f"{sweep.model}, no defence: {100 * level:.1f} %"
            handles.append(
                axes.axhline(100 * level, color=colour, linestyle="--", linewidth=1, label=label)
            )
    kind = "original" if sweeps[0].dataset == "original" else "universal"
    for defence, name, style in (
        ("none", "no defence", "--"),
        ("noise", "noise of an unstated magnitude", ":"),
    ):
        level = 100 * paper.TABLE_1[kind, defence]
        label = f"paper, {name}: {level:.2f} %"
        handles.append(
            axes.axhline(level, color=GREY, linestyle=style, linewidth=1, zorder=1, label=label)
        )
    axes.set(
        xlabel="Half-width of the uniform noise, in units of 1/255",
        ylabel="Accuracy, %",
        ylim=(0, 100),
        title=title,
    )
    axes.margins(x=0.02)
    axes.grid(axis="y", color=LIGHT, linewidth=0.5)
    axes.set_axisbelow(True)
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


@dataclass(frozen=True)
class Budget:
    """Accuracies of one network as an attack that knows it may change more.

    Attributes:
        model: the model's name.
        defence: the defence's name.
        radii: l_inf radii, in units of 1/255.
        results: the accuracy within each.
    """

    model: str
    defence: str
    radii: Sequence[float]
    results: Sequence[Accuracy]

    def rows(self) -> list[tuple[str, str, float, int, float, float, float]]:
        """Rows of a CSV whose header is `BUDGET_COLUMNS`."""
        return [
            (self.model, self.defence, radius, found.n, found.accuracy, found.low, found.high)
            for radius, found in zip(self.radii, self.results, strict=True)
        ]


BUDGET_COLUMNS = ("model", "defence", "radius", "n", "accuracy", "ci_low", "ci_high")


def read_budget(path: str) -> Budget:
    """The accuracies in a budget file."""
    with store.read(path, "budget/1") as file:
        ids, made = store.strings(file["ids"]), store.params(file)
        results = [metrics.accuracy(row, ids) for row in file["correct"][:]]
        return Budget(made["model"], made["defence"], file["radii"][:].tolist(), results)


def budget_chart(budgets: Sequence[Budget]) -> Figure:
    """Accuracy against the radius, a curve for each network; bands are 95 % Wilson intervals."""
    figure = Figure(figsize=(5.6, 4), layout="constrained")
    axes = figure.add_subplot()
    marks = ("o", "s", "^", "D", "v", "P", "X")
    for number, budget in enumerate(budgets):
        colour, mark = COLOURS[number % len(COLOURS)], marks[number % len(marks)]
        # Radii double: their number, not their size, is a place on the axis.
        places = range(len(budget.radii))
        label = f"{budget.model}, {budget.defence}"
        _curve(axes, places, budget.results, f"{mark}-", colour, label)
    radii = [f"{radius:g}" for radius in budgets[0].radii]
    axes.set_xticks(range(len(radii)), radii)
    axes.set(
        xlabel="Radius of the attack in ℓ∞, in units of 1/255",
        ylabel="Accuracy, %",
        ylim=(0, 100),
        title=f"Attacks that know the network ({budgets[0].results[0].photographs:,} photographs)",
    )
    axes.margins(x=0.02)
    axes.grid(axis="y", color=LIGHT, linewidth=0.5)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@dataclass(frozen=True)
class Growth:
    """Accuracies of one model on one data set as a defence is fitted to more images.

    Attributes:
        model: the model's name.
        dataset: the data set's name.
        defences: the defences' names.
        images: how many images each was fitted to, ascending.
        results: the accuracy behind each.
    """

    model: str
    dataset: str
    defences: Sequence[str]
    images: Sequence[int]
    results: Sequence[Accuracy]

    def rows(self) -> list[tuple[str, str, str, int, int, float, float, float]]:
        """Rows of a CSV whose header is `GROWTH_COLUMNS`."""
        return [
            (self.model, self.dataset, defence, images, r.n, r.accuracy, r.low, r.high)
            for defence, images, r in zip(self.defences, self.images, self.results, strict=True)
        ]


GROWTH_COLUMNS = (
    *("model", "dataset", "defence", "images", "n"),
    *("accuracy", "ci_low", "ci_high"),
)


def read_fit_images(path: str) -> tuple[str, int]:
    """The name of the defence in a file of fitted principal components, and its ``images``."""
    with store.read(path, "state/1") as file:
        return store.params(file)["defence"], int(file["images"][()])


def growths(cells: Sequence[tables.Result], images: Mapping[str, int]) -> list[Growth]:
    """Curves from cells.

    Args:
        cells: the accuracies behind each defence, of one or more models and data sets.
        images: defence -> how many images it was fitted to.
    """
    curves: dict[tuple[str, str], list[tables.Result]] = {}
    for cell in sorted(cells, key=lambda cell: images[cell.defence]):
        curves.setdefault((cell.model, cell.dataset), []).append(cell)
    return [
        Growth(
            *key,
            [cell.defence for cell in curve],
            [images[cell.defence] for cell in curve],
            [result.accuracy for result in curve],
        )
        for key, curve in curves.items()
    ]


def growth_chart(growths: Sequence[Growth]) -> Figure:
    """Accuracy against the number of images to fit, with the paper's two accuracies as crosses.

    A band is the 95 % Wilson interval; a colour is a model.
    """
    figure = Figure(figsize=(5.6, 4), layout="constrained")
    axes = figure.add_subplot()
    models = list(dict.fromkeys(growth.model for growth in growths))
    for growth in growths:
        original = growth.dataset == "original"
        colour = COLOURS[models.index(growth.model) % len(COLOURS)]
        label = f"{growth.model}, {growth.dataset}"
        _curve(axes, growth.images, growth.results, "o-" if original else "s--", colour, label)
    for dataset, mark in (("original", "+"), ("universal", "x")):
        level = 100 * paper.TABLE_1[dataset, "pca"]
        label = f"paper, {dataset}, {paper.FIT_IMAGES:,}: {level:.2f} %"
        axes.plot(paper.FIT_IMAGES, level, mark, color=GREY, markersize=6, label=label)
    ticks = sorted({n for growth in growths for n in growth.images})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], rotation=45)
    axes.set_xticks([], minor=True)
    axes.set(
        xlabel="Images that the principal components were fitted to",
        ylabel="Accuracy, %",
        ylim=(0, 100),
        title=f"PCA fitted to more images ({growths[0].results[0].photographs:,} photographs)",
    )
    axes.grid(axis="y", color=LIGHT, linewidth=0.5)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _curve(
    axes: Axes,
    x: Sequence[float],
    results: Sequence[Accuracy],
    style: str,
    colour: str,
    label: str,
) -> list[Line2D]:
    """Draw accuracies in percent, with a band for their intervals."""
    low, high = [100 * r.low for r in results], [100 * r.high for r in results]
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    shares = [100 * r.accuracy for r in results]
    # Marks at 0 and 100 % are whole, too.
    return axes.plot(x, shares, style, color=colour, label=label, clip_on=False, zorder=3)
