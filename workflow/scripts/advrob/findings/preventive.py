"""Are models that were trained to be robust better than their control? A table and curves."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from advrob.figures import panels
from advrob.figures.panels import Picture
from advrob.figures.plotting import COLOURS, WIDTH
from advrob.files import store
from advrob.findings import metrics
from advrob.findings.tables import NONE, Result, Table, Value, paired

# What a trained model is compared on, in the table's order; see `advrob.plan.experiments`.
ROLES = {
    "original": "original images",
    "static universal": "universal perturbation made against the pretrained network",
    "static gan": "samples of a generator made against the pretrained network",
    "own universal": "universal perturbation made against this network, defence included",
    "own gradient": "gradient perturbations made against this network, defence included",
}
# The paper expects "overall increases in both accuracies", on original and on perturbed images.
BOTH = ("original", "own universal")


def table_preventive(results: Sequence[Result], control: str) -> Table:
    """Trained models and their control, each behind each defence, under each attack.

    A model is compared with the control behind the same defence, on the images of the same role:
    its own where the control has its own.

    Args:
        results: scores of every model and defence in every role, a key of `ROLES`.
        control: the name of the model that the others are compared with.
    """
    known = {(r.model, r.defence, r.role): r for r in results}
    networks = list(dict.fromkeys((r.model, r.defence) for r in results))
    compared = {
        (model, defence, part): paired(found, known[control, defence, part])
        for (model, defence, part), found in known.items()
        if model != control
    }
    corrected = dict(
        zip(compared, metrics.holm([result.p for result in compared.values()]), strict=True)
    )
    rows: list[tuple[Value, ...]] = []
    lines: list[tuple[str, ...]] = []
    for model, defence in networks:
        shown = []
        for part in ROLES:
            key = (model, defence, part)
            accuracy = known[key].accuracy
            row = (model, defence, known[key].dataset, part, accuracy.n)
            numbers = (accuracy.accuracy, accuracy.low, accuracy.high)
            text = (
                f"{100 * accuracy.accuracy:.1f} "
                f"({100 * accuracy.low:.0f} to {100 * accuracy.high:.0f})"
            )
            if key in compared:
                other, p = compared[key], corrected[key]
                rows.append(
                    (
                        *(*row, *numbers, other.difference, other.low, other.high),
                        *(other.wins, other.losses, f"{other.p:.6g}", f"{p:.6g}"),
                    )
                )
                mark = "**" if p < 1 - metrics.CONFIDENCE else ""
                text += f" {mark}{100 * other.difference:+.1f}{mark}"
            else:
                rows.append((*row, *numbers, *("",) * 7))
            shown.append(text)
        verdict = NONE if model == control else _verdict(model, defence, compared, corrected)
        lines.append((model, defence, *shown, verdict))
    verdicts = (f"{line[0]} behind {line[1]} {line[-1]}" for line in lines)
    return Table(
        columns=(
            *("model", "defence", "dataset", "role", "n", "accuracy", "ci_low", "ci_high"),
            *("difference", "difference_low", "difference_high", "wins", "losses", "p", "p_holm"),
        ),
        rows=rows,
        title="Preventive models and their control",
        header=(
            *("Model", "Defence"),
            *(f"{part.capitalize()}, %" for part in ROLES),
            "Both higher?",
        ),
        lines=lines,
        remark=f"In brackets 95 % Wilson intervals; then the difference to `{control}` behind the "
        "same defence in points, bold where an exact McNemar test on the same photographs finds "
        f"one after Holm's correction for all {len(compared)} comparisons. "
        + " ".join(f"*{part.capitalize()}*: {meaning}." for part, meaning in ROLES.items())
        + " *Both higher?* asks whether the paper's expectation holds, that accuracy on original "
        f"and on perturbed images ({' and '.join(BOTH)}) rises: yes if both differences are found "
        "and above zero, no if one is found below zero, otherwise undecided.",
        accuracies=[result.accuracy for result in results],
        answer=f"both accuracies above {control}'s? {'; '.join(verdicts)}",
    )


def _verdict(model: str, defence: str, compared: dict, corrected: dict) -> str:
    signs = []
    for part in BOTH:
        key = (model, defence, part)
        found = corrected[key] < 1 - metrics.CONFIDENCE
        signs.append(
            (compared[key].difference > 0) - (compared[key].difference < 0) if found else 0
        )
    if min(signs) < 0:
        return "no"
    return "yes" if min(signs) > 0 else "undecided"


@dataclass(frozen=True)
class Curves:
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
        """Rows of a CSV whose header is `CURVE_COLUMNS`."""
        return [
            (self.model, epoch, measure, value)
            for measure, values in zip(self.measures, self.values, strict=True)
            for epoch, value in enumerate(values, start=1)
        ]


CURVE_COLUMNS = ("model", "epoch", "measure", "value")


def read_curves(path: str) -> Curves:
    """The training curves in a trained model's file."""
    with store.read(path, "state/1") as file:
        values = file["training_curve"][:].T.tolist()
        return Curves(store.params(file)["model"], store.strings(file["training_measures"]), values)


def training_chart(curves: Sequence[Curves]) -> Figure:
    """Accuracy by epoch, a panel a model: while learning, and on held-out original images."""
    columns = min(3, len(curves))
    lines = -(-len(curves) // columns)
    figure = Figure(figsize=(WIDTH, 0.4 + 1.9 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, sharey=True, squeeze=False)
    looks = {"accuracy, held out": (COLOURS[0], "held-out images, original")}
    for place in axes.flat[len(curves) :]:
        place.set_axis_off()
    for place, curve in zip(axes.flat, curves, strict=False):
        for measure, values in zip(curve.measures, curve.values, strict=True):
            if not measure.startswith("accuracy"):
                continue
            colour, label = looks.get(measure, (COLOURS[1], "what it is taught, while learning"))
            epochs = range(1, len(values) + 1)
            place.plot(epochs, [100 * value for value in values], "o-", color=colour, label=label)
        place.set_title(curve.model)
        place.set_xlabel("epoch")
        place.set_ylim(0, 100)
        place.xaxis.get_major_locator().set_params(integer=True)
    for row in axes:
        row[0].set_ylabel("accuracy, %")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def generator_chart(rows: Sequence[Sequence[Picture]], curves: Curves) -> Figure:
    """Rows of pictures above a generator's training curves, saved at `advrob.figures.panels.DPI`.

    Args:
        rows: the samples, and the images with them.
        curves: of the generator's training.
    """
    figure = Figure(figsize=(WIDTH, 1.75 * len(rows) + 2.2), layout="constrained")
    heights = (1.75 * len(rows), 2.2)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights).flat
    axes = above.subplots(len(rows), len(rows[0]), squeeze=False)
    for line, pictures in zip(axes, rows, strict=True):
        for place, picture in zip(line, pictures, strict=True):
            panels.show(place, picture)
    place = below.subplots()
    epochs = range(1, len(curves.values[0]) + 1)
    for colour, measure, values in zip(COLOURS, curves.measures, curves.values, strict=False):
        place.plot(epochs, values, "o-", color=colour, label=measure)
    place.set(xlabel="epoch", ylabel="loss, nats", ylim=(0, None))
    place.xaxis.get_major_locator().set_params(integer=True)
    place.legend()
    return figure
