"""Checks of an evaluation: what must be so if its attacks are as strong as they should be.

A check has one of three verdicts. It is **passed** only if the results show it, **failed** if they
show the opposite, and **not shown** if there are too few images to tell: an attack that does
nothing, or that nothing could contradict, passes no check.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from advrob.errors import UserError
from advrob.files import store
from advrob.files.records import load_records
from advrob.findings import metrics
from advrob.plan.names import DataSet, Network

# What a network may still get right within the largest radius, and how many of its gradients may
# vanish, before something must be wrong with the attack.
FLOOR = 0.05
VANISHING = 0.05
# A gradient shorter than this, of pixels in [0, 1], is none.
TINY = 1e-12
# Differences are shown from this p-value on: one-sided 0.5 %, as there are many checks.
SIGNIFICANCE = 0.01
# A difference in accuracy below this is none, if the interval says that it is below.
MARGIN = 0.05
# Rounding of what is stored, in units of 1/255.
ROUNDING = 1e-3
# The check that no attack may fail: one that goes too far makes the worst case too low.
IN_BOUNDS = "stays in bounds"


class Verdict(StrEnum):
    """What the results say of a check."""

    PASSED = "passed"
    # Of a check-up: something to know, as that a defence is stochastic.
    NOTED = "noted"
    NOT_SHOWN = "not shown"
    FAILED = "failed"


# What each level of a check-up's finding is among the checks.
LEVELS = {
    "passed": Verdict.PASSED,
    "note": Verdict.NOTED,
    "warning": Verdict.NOT_SHOWN,
    "failed": Verdict.FAILED,
}


@dataclass(frozen=True)
class Check:
    """A property that a sound evaluation has.

    Attributes:
        name: short.
        subject: the data set, or what else was looked at.
        verdict: what the results say of it.
        measured: the measured value, or in words.
        expected: in words.
    """

    name: str
    subject: str
    verdict: Verdict
    measured: float | str
    expected: str

    @property
    def passed(self) -> bool:
        """Whether the results show it."""
        return self.verdict == Verdict.PASSED


@dataclass(frozen=True)
class Outcome:
    """One network on one data set.

    Attributes:
        dataset: what it was scored on.
        correct: by image id, whether it is correct in more than half of its draws.
        spread: of the accuracy over draws.
        correct_real: the same as ``correct`` before images were rounded to 8 bits, where an attack
            on this network searched among real-valued images; else empty.
    """

    dataset: DataSet
    correct: Mapping[str, bool]
    spread: metrics.Spread
    correct_real: Mapping[str, bool] = field(default_factory=dict)

    def correct_on(self, ids: Sequence[str]) -> np.ndarray:
        """Whether it classifies images correctly, bool ``(N,)``.

        Raises:
            UserError: one of them has no score.
        """
        missing = [identity for identity in ids if identity not in self.correct]
        if missing:
            raise UserError(
                f"{self.dataset}: {len(missing)} of its {len(ids)} images have no score, "
                f"{missing[0]} for one. Expected a score of every attacked image; delete its old "
                "scores."
            )
        return np.array([self.correct[identity] for identity in ids])


def checkup_checks(path: str) -> list[Check]:
    """What a check-up found, as checks.

    Args:
        path: a network's file of findings.
    """
    return [as_finding_check(record) for record in load_records(path)[1]]


def as_finding_check(record: Mapping[str, str]) -> Check:
    """A check-up's finding as a check; see `advrob.evaluation.checkup.Finding`."""
    return Check(
        f"check-up: {record['name']}",
        "original",
        LEVELS[record["level"]],
        record["found"],
        record["advice"] or record["expected"],
    )


def _verdict(passed: bool, failed: bool) -> Verdict:
    if passed:
        return Verdict.PASSED
    return Verdict.FAILED if failed else Verdict.NOT_SHOWN


def stronger(
    name: str, subject: str, weak: np.ndarray, strong: np.ndarray, ids: Sequence[str]
) -> Check:
    """Check that one change of images costs more accuracy than another.

    Passed if it costs significantly more, or leaves nothing; failed if the interval of the
    difference lies below `MARGIN`.

    Args:
        name: of the check.
        subject: of the check.
        weak: what is correct under the weaker one, bool ``(N,)``.
        strong: under the stronger one.
        ids: of the images.
    """
    result = metrics.compare(weak, strong, ids)
    significant = result.p < SIGNIFICANCE and result.difference > 0
    verdict = _verdict(significant or not strong.any(), result.high < MARGIN)
    return Check(name, subject, verdict, result.difference, "costs significantly more accuracy")


def as_strong(
    other: str,
    subject: str,
    weak: np.ndarray,
    strong: np.ndarray,
    original: np.ndarray,
    ids: Sequence[str],
) -> Check:
    """Check that an attack is no weaker than one that knows less.

    Passed if no image survives it that the other breaks, where the other breaks any; failed if it
    is significantly weaker.

    Args:
        other: the name of the other's data set.
        subject: that of the attack's.
        weak: what is correct under the other, bool ``(N,)``.
        strong: what is correct under the attack.
        original: what is correct without an attack.
        ids: of the images.
    """
    result = metrics.compare(weak, strong, ids)
    tested = bool((original & ~weak).any())
    passed = not strong.any() or (tested and not (strong & ~weak).any())
    failed = result.p < SIGNIFICANCE and result.difference < 0
    return Check(
        f"as strong as {other}",
        subject,
        _verdict(passed, failed),
        result.difference,
        "breaks whatever the other breaks, and the other breaks some",
    )


def control_checks(
    outcomes: Mapping[DataSet, Outcome], path: str, bounds: Mapping[str, float]
) -> list[Check]:
    """Checks of each attack against its bound and against random changes as large as its own.

    Args:
        outcomes: of one network.
        path: its file of controls.
        bounds: family of data sets -> radius, in units of 1/255.
    """
    with store.read(path, "controls/1") as file:
        datasets, names = store.strings(file["datasets"]), store.strings(file["controls"])
        correct, farthest, ids = file["correct"][:], file["farthest"][:], store.strings(file["ids"])
    checks = []
    original = outcomes[DataSet()].correct_on(ids)
    for row, dataset in enumerate(map(DataSet.parse, datasets)):
        radius, reached = bounds[dataset.family], float(farthest[row])
        inside = reached <= radius + ROUNDING
        limit = f"at most {radius:g}/255 in 8 bits"
        checks.append(Check(IN_BOUNDS, dataset.name, _verdict(inside, not inside), reached, limit))
        changes = reached > 0 or not original.any()
        checks.append(
            Check(
                "changes images",
                dataset.name,
                _verdict(changes, not changes),
                reached,
                "an attack that changes nothing says nothing",
            )
        )
        attacked = outcomes[dataset].correct_on(ids)
        checks += [
            stronger(f"beats {name}", dataset.name, correct[row, column], attacked, ids)
            for column, name in enumerate(names)
        ]
    return checks


def strength_checks(
    network: Network, outcomes: Mapping[DataSet, Outcome], black_box: Mapping[str, Sequence[str]]
) -> list[Check]:
    """Checks of each attack that knows the network against its twin that does not, and others.

    Args:
        network: the one that is evaluated.
        outcomes: its own.
        black_box: family of an attack that uses gradients -> those that do without, of the same
            norm and at most its radius.
    """
    checks = []
    for dataset, outcome in outcomes.items():
        if dataset.target != network:
            continue
        others = (
            [DataSet(dataset.family, network.undefended)] if network.undefended != network else []
        )
        others += [DataSet(family, network) for family in black_box.get(dataset.family, ())]
        for other in others:
            if other not in outcomes:
                continue
            ids = [name for name in outcome.correct if name in outcomes[other].correct]
            weak, strong = outcomes[other].correct_on(ids), outcome.correct_on(ids)
            original = outcomes[DataSet()].correct_on(ids)
            checks.append(as_strong(other.name, dataset.name, weak, strong, original, ids))
    return checks


def budget_checks(path: str) -> list[Check]:
    """Checks of accuracy against radius and effort, and of the gradients.

    Args:
        path: a network's file of budgets.
    """
    with store.read(path, "budget/1") as file:
        radii, correct = file["radii"][:], file["correct"][:]
        efforts, by_effort = file["efforts"][:], file["correct_effort"][:]
        lengths, ids = file["gradients"][:], store.strings(file["ids"])
    checks = [
        *_falling("radius", radii, correct, ids),
        *_falling("effort", efforts, by_effort, ids),
    ]
    last = metrics.accuracy(correct[-1], ids)
    checks.append(
        Check(
            "falls to nothing",
            f"radius {radii[-1]:g}",
            _verdict(last.accuracy <= FLOOR, last.low > FLOOR),
            last.accuracy,
            f"at most {FLOOR:g} within the largest radius",
        )
    )
    vanishing = float((~np.isfinite(lengths) | (lengths < TINY)).mean())
    checks.append(
        Check(
            "has gradients",
            "original",
            _verdict(vanishing <= VANISHING, vanishing > VANISHING),
            vanishing,
            f"at most {VANISHING:g} of the images without a finite gradient above 0",
        )
    )
    return checks


def _falling(
    name: str, budget: np.ndarray, rows: np.ndarray, ids: Sequence[str]
) -> Iterable[Check]:
    """Accuracy falls from the smallest to the largest budget, and never rises between two."""
    first, last = f"{budget[0]:g}", f"{budget[-1]:g}"
    yield stronger(f"falls with the {name}", f"{first} to {last}", rows[0], rows[-1], ids)
    for low, high, before, after in zip(budget, budget[1:], rows, rows[1:], strict=False):
        result = metrics.compare(before, after, ids)
        rises = result.p < SIGNIFICANCE and result.difference < 0
        yield Check(
            f"never rises with the {name}",
            f"{low:g} to {high:g}",
            _verdict(result.difference >= 0, rises),
            result.difference,
            f"more {name} leaves no more accuracy",
        )


def grade(checks: Sequence[Check], accuracy: metrics.Accuracy) -> str:
    """How far you can trust a worst case, A to D.

    A: every check passed, and the interval of the worst case is at most 20 points wide. B: every
    check passed or has a note, as that attacks followed an average over draws or a straight-through
    gradient. C: none failed, but some could not be shown, with so few images or such a network. D:
    a check failed, so that what is left may be the attacks' weakness; or there are no checks.

    Args:
        checks: that the worst case depends on.
        accuracy: the worst case.
    """
    verdicts = {check.verdict for check in checks}
    if not checks or Verdict.FAILED in verdicts:
        return "D"
    if Verdict.NOT_SHOWN in verdicts:
        return "C"
    narrow = accuracy.high - accuracy.low <= 0.2
    return "A" if narrow and Verdict.NOTED not in verdicts else "B"
