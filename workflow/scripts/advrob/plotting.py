"""The look that every figure shares, how it is saved, and the charts.

Figures are made without pyplot, so nothing needs a screen and nothing is kept between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from advrob import metrics, paper, store, tables
from advrob.metrics import Accuracy

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


def sweep_chart(sweeps: Sequence[Sweep], undefended: Sequence[tables.Cell], title: str) -> Figure:
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
    plain = {(cell.model, cell.dataset): cell.result.accuracy for cell in undefended}
    for sweep, colour in zip(sweeps, COLOURS, strict=False):
        x = sweep.magnitudes
        handles += axes.plot(
            x, _percent(sweep, "accuracy"), "o-", color=colour, label=f"{sweep.model}, noise"
        )
        low, high = _percent(sweep, "low"), _percent(sweep, "high")
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
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
        axes.plot(
            places,
            [100 * result.accuracy for result in budget.results],
            f"{mark}-",
            color=colour,
            markersize=4,
            label=f"{budget.model}, {budget.defence}",
        )
        low = [100 * result.low for result in budget.results]
        high = [100 * result.high for result in budget.results]
        axes.fill_between(places, low, high, color=colour, alpha=0.12, linewidth=0)
    radii = [f"{radius:g}" for radius in budgets[0].radii]
    axes.set_xticks(range(len(radii)), radii)
    axes.set(
        xlabel="Radius of the attack (l_inf, in units of 1/255)",
        ylabel="Accuracy, %",
        ylim=(0, 100),
        title=f"Attacks that know the network ({budgets[0].results[0].photographs:,} photographs)",
    )
    axes.margins(x=0.02)
    axes.grid(axis="y", color=LIGHT, linewidth=0.5)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _percent(sweep: Sweep, attribute: str) -> list[float]:
    return [100 * getattr(result, attribute) for result in sweep.results]
