"""Worst cases of scores under attacks, and how far to trust them.

Tables join files by the images' ids. An image counts as right when more than half of the draws of a
stochastic defence are; others have one draw.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from advrob.errors import UserError
from advrob.files import store
from advrob.findings import metrics
from advrob.findings.checks import (
    IN_BOUNDS,
    Check,
    Outcome,
    Verdict,
    budget_checks,
    checkup_checks,
    control_checks,
    grade,
    strength_checks,
)
from advrob.findings.tables import NONE, Table, Value
from advrob.plan.names import ORIGINAL, DataSet, Knowledge, Network

# The column of the image-by-image worst case, and what its attacks know.
WORST = "worst case"
ALL = "all"
NORMS = {"linf": "l_inf", "l2": "l_2"}


@dataclass(frozen=True, order=True)
class ThreatModel:
    """What an attacker may do: move an image so far.

    Attributes:
        norm: ``linf`` or ``l2``.
        radius: the bound, in units of 1/255.
    """

    norm: str
    radius: float

    def __str__(self) -> str:
        """For a heading."""
        return f"{NORMS[self.norm]} {self.radius:g}"

    def allows(self, other: "ThreatModel") -> bool:
        """Whether everything that another allows is allowed here."""
        return self.norm == other.norm and other.radius <= self.radius


@dataclass
class Evaluation:
    """All that is known of one network.

    Attributes:
        network: its names.
        outcomes: by data set.
        checks: what was tested, in order.
    """

    network: Network
    outcomes: dict[DataSet, Outcome] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """The images that every attack was tried on."""
        return [
            name
            for name in self.outcomes[DataSet()].correct
            if all(name in outcome.correct for outcome in self.outcomes.values())
        ]

    def worst_case(self, threat: ThreatModel, bounds: Mapping[str, ThreatModel]) -> np.ndarray:
        """What is correct under every attack within a threat model: bool ``(N,)``."""
        holding = [
            outcome.correct_on(self.ids)
            for dataset, outcome in self.outcomes.items()
            if dataset.family == ORIGINAL or threat.allows(bounds[dataset.family])
        ]
        return np.all(holding, axis=0)

    def decisive(
        self,
        threat: ThreatModel,
        bounds: Mapping[str, ThreatModel],
        gradient_free: Collection[str],
    ) -> list[Check]:
        """The checks that a worst case depends on.

        Those of the network, and of the strongest attack on it within the threat model: of those
        that use gradients the one that leaves least, since if others are stronger, gradients
        mislead. A weak attack beside it makes no worst case wrong; one out of bounds does.
        """
        own = [dataset for dataset in self.outcomes if dataset.target == self.network]
        inside = [dataset for dataset in own if threat.allows(bounds[dataset.family])]
        guided = [dataset for dataset in inside if dataset.family not in gradient_free]
        ids = self.ids
        strongest = min(
            guided or inside,
            key=lambda dataset: int(self.outcomes[dataset].correct_on(ids).sum()),
            default=None,
        )
        others = {dataset.name for dataset in own if dataset != strongest}
        bounded = {dataset.name for dataset in inside}
        return [
            check
            for check in self.checks
            if check.subject not in others or (check.name == IN_BOUNDS and check.subject in bounded)
        ]

    def worst_case_real(
        self, threat: ThreatModel, bounds: Mapping[str, ThreatModel]
    ) -> np.ndarray | None:
        """The same with real-valued images, too; None where no attack searched among them."""
        holding = [
            np.array([outcome.correct_real[name] for name in self.ids])
            for dataset, outcome in self.outcomes.items()
            if outcome.correct_real and threat.allows(bounds[dataset.family])
        ]
        return np.all([self.worst_case(threat, bounds), *holding], axis=0) if holding else None

    @property
    def remark(self) -> str:
        """A short summary of its checks."""
        parts = []
        for verdict in (Verdict.FAILED, Verdict.NOT_SHOWN):
            names = dict.fromkeys(check.name for check in self.checks if check.verdict == verdict)
            parts += [f"{verdict}: {', '.join(names)}"] if names else []
        return "; ".join(parts) or str(Verdict.PASSED)


def read_outcomes(
    scores: Sequence[str], cells: Sequence[tuple[str, str, str, str]]
) -> list[Evaluation]:
    """Networks with their outcomes, in the files' order.

    Args:
        scores: score files.
        cells: the expected data set, model, defence and role of each.

    Raises:
        UserError: a file belongs to another cell.
    """
    evaluations: dict[Network, Evaluation] = {}
    for path, (dataset, model, defence, _) in zip(scores, cells, strict=True):
        about = {"dataset": dataset, "model": model, "defence": defence}
        with store.read(path, "scores/1", about=about) as file:
            draws, ids = file["draws"][:], store.strings(file["ids"])
        network = Network(model, defence)
        correct = dict(zip(ids, (2 * draws.sum(axis=0) > len(draws)).tolist(), strict=True))
        outcome = Outcome(DataSet.parse(dataset), correct, metrics.spread(draws))
        evaluations.setdefault(network, Evaluation(network)).outcomes[outcome.dataset] = outcome
    return list(evaluations.values())


def add_real_values(evaluations: Sequence[Evaluation], datasets: Sequence[str]) -> None:
    """Add to networks' outcomes what attacks on them reached before images were rounded.

    Args:
        evaluations: changed in place.
        datasets: data sets of attacks among real-valued images, each on one of the networks.

    Raises:
        UserError: a file is of an attack among 8-bit images.
    """
    outcomes = {
        (str(dataset), evaluation.network): (evaluation, dataset)
        for evaluation in evaluations
        for dataset in evaluation.outcomes
    }
    for path in datasets:
        dataset = DataSet.parse(Path(path).stem)
        with store.read(path, "images/1") as file:
            if "correct_real" not in file:
                raise UserError(
                    f"{path}: has no outcome in real values (correct_real). Expected one, since "
                    "its attack has levels: null. Delete it and run Snakemake again."
                )
            correct = zip(store.strings(file["ids"]), file["correct_real"][:].tolist(), strict=True)
        assert dataset.target is not None
        evaluation, _ = outcomes[str(dataset), dataset.target]
        outcome = evaluation.outcomes[dataset]
        evaluation.outcomes[dataset] = replace(outcome, correct_real=dict(correct))


def add_checks(
    evaluations: Sequence[Evaluation],
    checkups: Sequence[str],
    budgets: Sequence[str],
    controls: Sequence[str],
    bounds: Mapping[str, ThreatModel],
    gradient_free: Sequence[str],
) -> None:
    """Test the evaluation of each network.

    Args:
        evaluations: changed in place.
        checkups: a file of each network, in their order.
        budgets: likewise.
        controls: likewise.
        bounds: family of a data set -> what its attack may do.
        gradient_free: families of attacks that do without gradients.
    """
    radii = {family: threat.radius for family, threat in bounds.items()}
    black_box = {
        family: [other for other in gradient_free if threat.allows(bounds[other])]
        for family, threat in bounds.items()
        if family not in gradient_free
    }
    files = zip(evaluations, checkups, budgets, controls, strict=True)
    for evaluation, checkup, budget, control in files:
        evaluation.checks += [
            *checkup_checks(checkup),
            *control_checks(evaluation.outcomes, control, radii),
            *strength_checks(evaluation.network, evaluation.outcomes, black_box),
            *budget_checks(budget),
        ]


def tables(
    files: Sequence[str],
    *,
    outcomes: Sequence[tuple[str, str, str, str]],
    budgets: Sequence[str],
    controls: Sequence[str],
    checkups: Sequence[str],
    real: Sequence[str],
    bounds: Mapping[str, tuple[str, float]],
    gradient_free: Sequence[str],
) -> tuple[Table, Table]:
    """The table of robustness, and the checks behind it.

    Args:
        files: score files.
        outcomes: the expected data set, model, defence and role of each.
        budgets: a file of each network, in their order in ``files``.
        controls: likewise.
        checkups: likewise.
        real: data sets of attacks among real-valued images.
        bounds: family of a data set -> the norm and the radius of its attack.
        gradient_free: families of attacks that do without gradients.

    Raises:
        UserError: a file belongs to another cell, or to an attack among 8-bit images.
    """
    threats = {family: ThreatModel(*bound) for family, bound in bounds.items()}
    evaluations = read_outcomes(files, outcomes)
    add_real_values(evaluations, real)
    add_checks(evaluations, checkups, budgets, controls, threats, gradient_free)
    return table_robustness(evaluations, threats, gradient_free), table_checks(evaluations)


ROBUSTNESS_COLUMNS = (
    *("model", "defence", "knowledge", "attack", "n", "accuracy", "ci_low", "ci_high"),
    *("spread", "checks", "norm", "radius", "grade", "accuracy_real"),
)
CHECK_COLUMNS = ("model", "defence", "check", "subject", "passed", "found", "expected", "verdict")


def table_robustness(
    evaluations: Sequence[Evaluation],
    bounds: Mapping[str, ThreatModel],
    gradient_free: Collection[str] = (),
) -> Table:
    """What each network gets right under every attack, and under the worst of a threat model.

    A worst case is decided image by image: right on the original and under every attack within the
    threat model, whoever it was made against. Only images that every attack was tried on count.

    Args:
        evaluations: of networks, with their checks.
        bounds: family of a data set -> what its attack may do.
        gradient_free: families of attacks that do without gradients.
    """
    attacks = list(bounds)
    threats = sorted(set(bounds.values()))
    rows: list[tuple[Value, ...]] = []
    lines: list[tuple[str, ...]] = []
    accuracies: list[metrics.Accuracy] = []
    worst_cases: list[tuple[float, str]] = []
    for evaluation in evaluations:
        names = (evaluation.network.model, evaluation.network.defence)
        ids, remark = evaluation.ids, evaluation.remark
        cells: dict[tuple[str, str], str] = {}
        for dataset, outcome in evaluation.outcomes.items():
            knowledge = dataset.knowledge_of(evaluation.network)
            result = metrics.accuracy(outcome.correct_on(ids), ids)
            threat = bounds.get(dataset.family)
            bound = (threat.norm, threat.radius) if threat else (NONE, NONE)
            spread = outcome.spread.deviation
            numbers = (result.n, result.accuracy, result.low, result.high, spread)
            searched = [outcome.correct_real[name] for name in ids if outcome.correct_real]
            reached: Value = float(np.mean(searched)) if searched else NONE
            rows.append(
                (*names, knowledge, dataset.family, *numbers, remark, *bound, NONE, reached)
            )
            cells[knowledge, dataset.family] = result.percent + _in_real_values(reached)
        for threat in threats:
            result = metrics.accuracy(evaluation.worst_case(threat, bounds), ids)
            mark = grade(evaluation.decisive(threat, bounds, gradient_free), result)
            interval = (result.n, result.accuracy, result.low, result.high)
            bound = (threat.norm, threat.radius)
            real = evaluation.worst_case_real(threat, bounds)
            reached = NONE if real is None else float(real.mean())
            rows.append((*names, ALL, WORST, *interval, NONE, remark, *bound, mark, reached))
            cells[ALL, str(threat)] = f"{result.percent}{_in_real_values(reached)}, {mark}"
            accuracies.append(result)
            worst_cases.append((result.accuracy, f"{evaluation.network} within {threat}"))
        lines.append((*names, *_line(cells, attacks, threats), remark))
    best, subject = max(worst_cases)
    return Table(
        columns=ROBUSTNESS_COLUMNS,
        rows=rows,
        title="Robustness: accuracy in percent, with 95 % intervals",
        header=("Model", "Defence", *_titles(attacks, threats), "Checks"),
        lines=lines,
        remark="A worst case counts an image as right if the network is right on the original and "
        "under every attack of that norm and at most that radius, in units of 1/255, whoever the "
        "attack was made against. The letter grades the evidence, by the checks of the network and "
        "of the strongest attack on it: A, all passed and the interval is at most 20 points wide; "
        "B, all passed, some with a note; C, none failed, some could not be shown; D, one failed. "
        "Intervals are 95 % Wilson score intervals that count photographs, not crops.",
        accuracies=accuracies,
        answer=f"worst case: at best {best:.1%} ({subject})",
    )


def _columns(attacks: Iterable[str], threats: Iterable[ThreatModel]) -> list[tuple[str, str]]:
    static = [(Knowledge.MATCHED, attack) for attack in attacks]
    adaptive = [(Knowledge.ADAPTIVE, attack) for attack in attacks]
    return [
        (Knowledge.NONE, ORIGINAL),
        *static,
        *adaptive,
        *((ALL, str(threat)) for threat in threats),
    ]


def _titles(attacks: Iterable[str], threats: Iterable[ThreatModel]) -> list[str]:
    titles = {Knowledge.NONE: "{}", ALL: f"{WORST} within {{}}"}
    return [
        titles.get(knowledge, f"{knowledge}: {{}}").format(name)
        for knowledge, name in _columns(attacks, threats)
    ]


def _line(
    cells: Mapping[tuple[str, str], str], attacks: Iterable[str], threats: Iterable[ThreatModel]
) -> list[str]:
    return [cells.get(column, NONE) for column in _columns(attacks, threats)]


def _in_real_values(accuracy: Value) -> str:
    return "" if accuracy == NONE else f", {100 * float(accuracy):.1f} in real values"


def table_checks(evaluations: Sequence[Evaluation]) -> Table:
    """Every check of every network."""
    checks = [(each.network, check) for each in evaluations for check in each.checks]
    counts = Counter(check.verdict for _, check in checks)
    emphasised = {verdict: f"**{verdict}**" for verdict in (Verdict.FAILED, Verdict.NOT_SHOWN)}

    def _rounded(value: float | str) -> str:
        return value if isinstance(value, str) else f"{value:.4g}"

    return Table(
        columns=CHECK_COLUMNS,
        rows=[
            (
                *(network.model, network.defence, check.name, check.subject),
                *(str(check.passed).lower(), check.measured, check.expected, check.verdict),
            )
            for network, check in checks
        ],
        title="Checks of the evaluation",
        header=("Model", "Defence", "Check", "Of", "Verdict", "Found", "Expected"),
        lines=[
            (
                *(network.model, network.defence, check.name, check.subject),
                *(emphasised.get(check.verdict, str(check.verdict)), _rounded(check.measured)),
                check.expected,
            )
            for network, check in checks
        ],
        remark="A check is passed only where the results show it; with too few images to tell, it "
        "is not shown.",
        answer=", ".join(f"{counts[verdict]} checks {verdict}" for verdict in Verdict),
    )
