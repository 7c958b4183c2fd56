"""The matrix of fooling rates as a heat map."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from advrob.findings.transfer import Transfer

# Inches: of a cell, and of what stands around the cells.
CELL, MARGIN = 0.8, 1.9
# From this rate in percent on, a cell is too dark for black.
DARK = 55


def heat_map(cells: Sequence[Transfer]) -> Figure:
    """Fooling rates in percent with their intervals: a row a perturbation, a column a model.

    Args:
        cells: every perturbation on every model.
    """
    rows = list(dict.fromkeys(cell.against for cell in cells))
    columns = list(dict.fromkeys(cell.model for cell in cells))
    places = {(cell.against, cell.model): cell.fooled for cell in cells}
    rates = [[100 * places[row, column].accuracy for column in columns] for row in rows]
    figure = Figure(
        figsize=(CELL * len(columns) + MARGIN + 0.6, CELL * len(rows) + MARGIN),
        layout="constrained",
    )
    axes = figure.add_subplot()
    image = axes.imshow(rates, cmap="Blues", vmin=0, vmax=100)
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            axes.text(
                x,
                y,
                places[row, column].percent.replace(" (", "\n("),
                ha="center",
                va="center",
                color="white" if rates[y][x] >= DARK else "black",
            )
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    photographs = cells[0].fooled.photographs
    axes.set(
        xlabel="Tested model",
        ylabel="Perturbation made against",
        title=f"Transfer of universal perturbations ({photographs:,} photographs)",
    )
    figure.colorbar(image, ax=axes, label="Fooling rate, %", shrink=0.8)
    return figure
