"""Are models that were trained to be robust better than their control?"""

from collections.abc import Sequence

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
    by_cell = {(r.model, r.defence, r.role): r for r in results}
    networks = list(dict.fromkeys((r.model, r.defence) for r in results))
    compared = {
        (model, defence, part): paired(result, by_cell[control, defence, part])
        for (model, defence, part), result in by_cell.items()
        if model != control
    }
    corrected = dict(
        zip(compared, metrics.holm([result.p for result in compared.values()]), strict=True)
    )
    rows: list[tuple[Value, ...]] = []
    lines: list[tuple[str, ...]] = []
    for model, defence in networks:
        cells = []
        for part in ROLES:
            key = (model, defence, part)
            accuracy = by_cell[key].accuracy
            row = (model, defence, by_cell[key].dataset, part, accuracy.n)
            numbers = (accuracy.accuracy, accuracy.low, accuracy.high)
            text = accuracy.percent
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
            cells.append(text)
        verdict = NONE if model == control else _verdict(model, defence, compared, corrected)
        lines.append((model, defence, *cells, verdict))
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
        remark=_remark(control, len(compared)),
        accuracies=[result.accuracy for result in results],
        answer=f"both accuracies above {control}'s? {'; '.join(verdicts)}",
    )


def _remark(control: str, comparisons: int) -> str:
    """What is below the table."""
    return (
        f"In brackets 95 % Wilson intervals; then the difference to `{control}` behind the "
        "same defence in points, bold where an exact McNemar test on the same photographs finds "
        f"one after Holm's correction for all {comparisons} comparisons. "
        + " ".join(f"*{part.capitalize()}*: {meaning}." for part, meaning in ROLES.items())
        + " *Both higher?* asks whether the paper's expectation holds, that accuracy on original "
        f"and on perturbed images ({' and '.join(BOTH)}) rises: yes if both differences are found "
        "and above zero, no if one is found below zero, otherwise undecided."
    )


def _verdict(model: str, defence: str, compared: dict, corrected: dict) -> str:
    signs = []
    for part in BOTH:
        key = (model, defence, part)
        significant = corrected[key] < 1 - metrics.CONFIDENCE
        signs.append(
            (compared[key].difference > 0) - (compared[key].difference < 0) if significant else 0
        )
    if min(signs) < 0:
        return "no"
    return "yes" if min(signs) > 0 else "undecided"
