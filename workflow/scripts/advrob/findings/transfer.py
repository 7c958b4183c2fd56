"""Universal perturbations made against one model and tested on another.

The fooling rate is the share of images whose predicted class a perturbation changes, right or
wrong (Moosavi-Dezfooli et al. 2017, "Universal adversarial perturbations", section 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advrob.errors import UserError
from advrob.findings import metrics
from advrob.findings.metrics import Accuracy
from advrob.findings.tables import Result, Table
from advrob.plan.names import ORIGINAL, DataSet

COLUMNS = (
    *("made_against", "model", "n", "fooling_rate", "ci_low", "ci_high"),
    *("accuracy", "ci_low_accuracy", "ci_high_accuracy"),
)


@dataclass(frozen=True)
class Transfer:
    """A perturbation made against one model, tested on a model.

    Attributes:
        against: the model that it was made against.
        model: the model that is tested.
        fooled: the share of images whose prediction it changes.
        accuracy: of the tested model on the same images under the perturbation.
    """

    against: str
    model: str
    fooled: Accuracy
    accuracy: Accuracy

    @property
    def is_own(self) -> bool:
        """Whether the perturbation was made against the tested model."""
        return self.against == self.model

    @property
    def row(self) -> tuple[str | int | float, ...]:
        """Its row in a CSV with the header `COLUMNS`."""
        ends = [
            number
            for each in (self.fooled, self.accuracy)
            for number in (each.accuracy, each.low, each.high)
        ]
        return (self.against, self.model, self.fooled.n, *ends)


def transfers(results: Sequence[Result]) -> list[Transfer]:
    """Every perturbation on every model, in the order of the results.

    Args:
        results: with predictions, of each model on the original images and on those of universal
            perturbations. Images count that are among both.

    Raises:
        UserError: a model has no image in common with the original ones.
    """
    originals = {result.model: result for result in results if result.dataset == ORIGINAL}
    return [
        _transfer(originals[result.model], result)
        for result in results
        if result.dataset != ORIGINAL
    ]


def _transfer(original: Result, attacked: Result) -> Transfer:
    assert original.predicted is not None and attacked.predicted is not None
    before = dict(zip(original.ids, original.predicted.tolist(), strict=True))
    shared = np.array([name in before for name in attacked.ids], dtype=bool)
    ids = [name for name in attacked.ids if name in before]
    if not ids:
        raise UserError(
            f"{attacked.model}/{attacked.defence} was scored on {attacked.dataset} and on original "
            "images that have none in common. Expected the same images; delete the older scores."
        )
    fooled = attacked.predicted[shared] != np.array([before[name] for name in ids])
    target = DataSet.parse(attacked.dataset).target
    assert target is not None
    return Transfer(
        target.model,
        attacked.model,
        metrics.accuracy(fooled, ids),
        metrics.accuracy(attacked.correct[shared], ids),
    )


def table_transfer(results: Sequence[Result]) -> Table:
    """The matrix of fooling rates: a row for each perturbation, a column for each tested model.

    Args:
        results: see `transfers`.

    Raises:
        UserError: see `transfers`.
    """
    cells = transfers(results)
    models = list(dict.fromkeys(cell.model for cell in cells))
    lines = [
        (against, *(_text(cell) for cell in cells if cell.against == against))
        for against in dict.fromkeys(cell.against for cell in cells)
    ]
    return Table(
        columns=COLUMNS,
        rows=[cell.row for cell in cells],
        title="Transfer of universal perturbations: fooling rate in percent, with 95 % intervals",
        header=("Made against", *models),
        lines=lines,
        remark="The fooling rate is the share of images whose predicted class changes. A row is a "
        "perturbation, by the model that it was made against; a column is the model that is "
        "tested. Bold: the perturbation was made against this model. Intervals are 95 % Wilson "
        "score intervals that count photographs, not crops.",
        accuracies=[cell.fooled for cell in cells],
        answer=answer(cells),
    )


def _text(cell: Transfer) -> str:
    return f"**{cell.fooled.percent}**" if cell.is_own else cell.fooled.percent


def answer(cells: Sequence[Transfer]) -> str:
    """The range of fooling rates on the model of each perturbation, and on others."""
    ranges = []
    for is_own, whom in ((True, "the model it was made against"), (False, "other models")):
        rates = [cell.fooled.accuracy for cell in cells if cell.is_own == is_own]
        ranges.append(f"{min(rates):.1%} to {max(rates):.1%} of images on {whom}")
    return f"a universal perturbation fools {', '.join(ranges)}"
