"""How models' training went: accuracy and loss by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from advrob.figures import panels
from advrob.figures.panels import Picture
from advrob.figures.plotting import COLOURS, WIDTH
from advrob.files import provenance, store

COLUMNS = ("model", "epoch", "measure", "value")
# The one accuracy that all models have in common; others are of what a model's lesson shows it.
HELD_OUT = "accuracy, held out"

# Inches: the height of the chart below pictures.
CHART = 2.2


@dataclass(frozen=True)
class History:
    """How one model's training went.

    Attributes:
        model: the model's name.
        measures: what was measured in each epoch.
        values: its values, one list a measure.
    """

    model: str
    measures: Sequence[str]
    values: Sequence[Sequence[float]]

    def rows(self) -> list[tuple[str, int, str, float]]:
        """Rows of a CSV whose header is `COLUMNS`."""
        return [
            (self.model, epoch, measure, value)
            for measure, values in zip(self.measures, self.values, strict=True)
            for epoch, value in enumerate(values, start=1)
        ]

    def last(self) -> str:
        """The values of the last epoch, for a log."""
        return ", ".join(
            f"{measure} {values[-1]:.2f}"
            for measure, values in zip(self.measures, self.values, strict=True)
        )


def read_history(path: str) -> History:
    """The training curves in a trained model's file."""
    with store.read(path, "state/1") as file:
        values = file["training_curve"][:].T.tolist()
        model, measures = provenance.params(file)["model"], store.strings(file["training_measures"])
        return History(model, measures, values)


def training_chart(histories: Sequence[History]) -> Figure:
    """Accuracy by epoch, a panel a model: on training images, and on held-out original images."""
    columns = min(3, len(histories))
    lines = -(-len(histories) // columns)
    figure = Figure(figsize=(WIDTH, 0.4 + 1.9 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(histories) :]:
        axes.set_axis_off()
    for axes, history in zip(grid.flat, histories, strict=False):
        for measure, values in zip(history.measures, history.values, strict=True):
            if not measure.startswith("accuracy"):
                continue
            if measure == HELD_OUT:
                colour, label = COLOURS[0], "held-out images, original"
            else:
                colour, label = COLOURS[1], "images of its lesson, during training"
            epochs = range(1, len(values) + 1)
            axes.plot(epochs, [100 * value for value in values], "o-", color=colour, label=label)
        axes.set_title(history.model)
        axes.set_xlabel("epoch")
        axes.set_ylim(0, 100)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    for row in grid:
        row[0].set_ylabel("accuracy, %")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def generator_chart(rows: Sequence[Sequence[Picture]], history: History) -> Figure:
    """Rows of pictures above a generator's training curves, saved at `advrob.figures.panels.DPI`.

    Args:
        rows: the samples, and the images with them.
        history: of the generator's training.
    """
    figure = panels.grid(rows, [""] * len(rows[0]), [""] * len(rows))
    width, height = figure.get_size_inches()
    total = height + CHART
    figure.set_size_inches(width, total)
    # Positions in whole pixels: those of a layout engine differ by rounding from run to run.
    for axes in figure.axes:
        left, bottom, wide, high = axes.get_position(original=True).bounds
        above = (left, (bottom * height + CHART) / total, wide, high * height / total)
        axes.set_position(above)
    axes = figure.add_axes((0.6 / width, 0.5 / total, 1 - 0.7 / width, (CHART - 0.7) / total))
    epochs = range(1, len(history.values[0]) + 1)
    for colour, measure, values in zip(COLOURS, history.measures, history.values, strict=False):
        axes.plot(epochs, values, "o-", color=colour, label=measure)
    axes.set(xlabel="epoch", ylabel="loss, nats", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axes.legend()
    return figure
