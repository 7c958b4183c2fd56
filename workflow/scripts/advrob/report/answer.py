"""The run's answer: is it robust, how sure is that, and what next; as data.

Everything is taken from the tables that the workflow writes; see `advrob.report.sentences` for the
answer in words.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from advrob.errors import UserError
from advrob.findings.checks import Verdict
from advrob.findings.robustness import NORMS, WORST, ThreatModel
from advrob.plan.names import ORIGINAL, UNDEFENDED, Knowledge, Network

TableRows = Iterable[Mapping[str, str]]
# A network is called robust if it classifies more than this share of the images correctly under
# the worst attack, and the interval and the checks show it.
ROBUST = 0.5
YES, NO, UNDECIDED = "yes", "no", "undecided"
# Grades of evidence with which a high accuracy under attack is believed.
BELIEVED = ("A", "B")
# Verdicts on a claim of the paper and on a worst case of known truth, in the order that is shown.
CLAIM_VERDICTS = ("reproduced", "not reproduced", "undecided", "not tested")
CALIBRATION_VERDICTS = ("passed", "flagged", "failed")


@dataclass(frozen=True)
class Share:
    """A share of images with its 95 % interval, all in [0, 1]."""

    accuracy: float
    low: float
    high: float

    @classmethod
    def of(cls, row: Mapping[str, str]) -> "Share":
        """From the row of a table."""
        return cls(*(float(row[key]) for key in ("accuracy", "ci_low", "ci_high")))

    def __str__(self) -> str:
        """In percent, for a sentence."""
        return f"{100 * self.accuracy:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


@dataclass(frozen=True)
class WorstCase:
    """What a network classifies correctly under every attack of a threat model.

    Attributes:
        share: of the images.
        grade: of the evidence, A to D; see `advrob.findings.checks.grade`.
    """

    share: Share
    grade: str

    @property
    def robust(self) -> str:
        """Whether that is robust: yes, no or undecided.

        A successful attack is proof whatever the checks say, an attack that fails is not.
        """
        if self.share.high < ROBUST:
            return NO
        return YES if self.share.low > ROBUST and self.grade in BELIEVED else UNDECIDED


@dataclass(frozen=True)
class Evaluated:
    """A network and what it classifies correctly.

    Attributes:
        network: its names.
        images: how many were attacked.
        original: the share of these that it gets right without an attack.
        unaware: the least under an attack of the first threat model that does not know the
            defence; None if there is no such attack.
        worst: by threat model, the first one first.
        checks: verdict -> how many checks have it.
        failed: names of the checks that failed.
    """

    network: Network
    images: int
    original: Share
    unaware: Share | None
    worst: Mapping[ThreatModel, WorstCase]
    checks: Mapping[str, int]
    failed: Sequence[str]


@dataclass(frozen=True)
class Guarantee:
    """Certified accuracy of a network under Gaussian noise.

    Attributes:
        network: its names.
        sigma: standard deviation of the noise, in units of 1/255, as are the radii.
        radius: the smallest l_2 radius above 0 of the table.
        share: of the images that are certified and right to it.
        farthest: the largest radius of the table at which any image is; None if none is anywhere.
    """

    network: Network
    sigma: float
    radius: float
    share: Share
    farthest: float | None


@dataclass(frozen=True)
class ModelAnswer:
    """What was found of one model.

    Attributes:
        model: its name.
        networks: it, without a defence and behind each.
        guarantee: the best one of its networks; None if no certificate was computed.
    """

    model: str
    networks: Sequence[Evaluated]
    guarantee: Guarantee | None

    @property
    def threats(self) -> list[ThreatModel]:
        """The threat models, the first one first."""
        return list(self.networks[0].worst)

    @cached_property
    def undefended(self) -> Evaluated | None:
        """The model without a defence."""
        return next((each for each in self.networks if each.network.defence == UNDEFENDED), None)

    def best(self, threat: ThreatModel) -> Evaluated | None:
        """The network behind the defence that leaves most under the worst attack.

        Of equal ones, that with the highest accuracy without an attack.
        """
        defended = [each for each in self.networks if each is not self.undefended]
        return max(
            defended,
            key=lambda each: (each.worst[threat].share.accuracy, each.original.accuracy),
            default=None,
        )

    def gains(self, threat: ThreatModel) -> bool | None:
        """Whether the best defence leaves more than none, with intervals that do not overlap.

        Returns:
            None if one of the two was not evaluated.
        """
        best, bare = self.best(threat), self.undefended
        if best is None or bare is None:
            return None
        return best.worst[threat].share.low > bare.worst[threat].share.high

    def robust(self, threat: ThreatModel) -> str:
        """Whether any of the networks is robust: yes, no (none is) or undecided."""
        verdicts = {each.worst[threat].robust for each in self.networks}
        return next(each for each in (YES, UNDECIDED, NO) if each in verdicts)


@dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes:
        models: of each model.
        calibration: verdict -> how many worst cases of known truth have it.
        claims: verdict -> how many of the paper's claims and numbers have it.
    """

    models: Sequence[ModelAnswer]
    calibration: Mapping[str, int]
    claims: Mapping[str, int]

    @property
    def networks(self) -> list[Evaluated]:
        """Of all models."""
        return [each for model in self.models for each in model.networks]


def read(
    *,
    robustness: str,
    checks: str,
    calibration: str,
    replication: Sequence[str],
    certified: Sequence[str],
) -> Answer:
    """Read the answer from the workflow's tables.

    Args:
        robustness: ``table_robustness.csv``.
        checks: ``checks.csv``.
        calibration: ``calibration.csv``.
        replication: ``replication.csv``, or nothing.
        certified: ``table_certified.csv``, or nothing.

    Raises:
        UserError: a table is not as the workflow wrote it.
    """
    with _tables(robustness, checks):
        if not (networks := evaluated(_rows(robustness), _rows(checks))):
            raise ValueError("no network is in it")
    with _tables(*certified):
        best = guarantees(row for path in certified for row in _rows(path))
    with _tables(calibration):
        calibrated = _counted(_rows(calibration), CALIBRATION_VERDICTS)
    with _tables(*replication):
        claims = _counted((row for path in replication for row in _rows(path)), CLAIM_VERDICTS)
    models = groupby(networks, lambda each: each.network.model)
    return Answer(
        models=[ModelAnswer(model, list(group), best.get(model)) for model, group in models],
        calibration=calibrated,
        claims=claims,
    )


@contextmanager
def _tables(*paths: str) -> Iterator[None]:
    """Explain what goes wrong inside as tables that another program has written."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, StopIteration, csv.Error) as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise UserError(
            f"{' or '.join(paths)}: not as this workflow writes it ({reason}). It was changed by "
            "another program, a spreadsheet for example, or cut short. Delete it and run Snakemake "
            "again."
        ) from error


def _rows(path: str) -> list[dict[str, str]]:
    """The rows of a table, each with all columns."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    if not reader.fieldnames:
        raise ValueError("it is empty")
    if any(None in (*row, *row.values()) for row in rows):
        raise ValueError("a row has more or fewer columns than the first")
    return rows


def _counted(rows: TableRows, verdicts: Iterable[str]) -> dict[str, int]:
    counts = Counter(row["verdict"] for row in rows)
    return {verdict: counts[verdict] for verdict in verdicts if counts[verdict]}


def evaluated(robustness: TableRows, checks: TableRows) -> list[Evaluated]:
    """The networks, in the table's order.

    Args:
        robustness: rows of ``table_robustness.csv``.
        checks: rows of ``checks.csv``.
    """
    by_network: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for row in checks:
        by_network.setdefault((row["model"], row["defence"]), []).append(row)
    return [
        _evaluated(Network(*names), list(group), by_network.get(names, []))
        for names, group in groupby(robustness, lambda row: (row["model"], row["defence"]))
    ]


def _evaluated(
    network: Network, rows: Sequence[Mapping[str, str]], checks: Sequence[Mapping[str, str]]
) -> Evaluated:
    worst = {
        _threat(row): WorstCase(Share.of(row), row["grade"])
        for row in rows
        if row["attack"] == WORST
    }
    # The threat model that most evaluations have comes first: l_inf, and the smallest radius.
    threats = sorted(worst, key=lambda threat: (threat.norm != "linf", threat.norm, threat.radius))
    unaware = [
        Share.of(row)
        for row in rows
        if row["knowledge"] == Knowledge.MATCHED
        and row["norm"] in NORMS
        and threats[0].allows(_threat(row))
    ]
    original = next(row for row in rows if row["attack"] == ORIGINAL)
    failed = (row["check"] for row in checks if row["verdict"] == Verdict.FAILED)
    return Evaluated(
        network=network,
        images=int(original["n"]),
        original=Share.of(original),
        unaware=min(unaware, key=lambda share: share.accuracy, default=None),
        worst={threat: worst[threat] for threat in threats},
        checks=_counted(checks, map(str, Verdict)),
        failed=list(dict.fromkeys(failed)),
    )


def _threat(row: Mapping[str, str]) -> ThreatModel:
    return ThreatModel(row["norm"], float(row["radius"]))


def guarantees(rows: TableRows) -> dict[str, Guarantee]:
    """The best guarantee of each model: most images at the smallest radius above 0.

    Args:
        rows: of ``table_certified.csv``.
    """
    best: dict[str, Guarantee] = {}
    usable = [row for row in rows if row["dataset"] == ORIGINAL and float(row["radius"]) > 0]
    for (model, defence, sigma), group in groupby(
        usable, lambda row: (row["model"], row["defence"], row["sigma"])
    ):
        shares = {float(row["radius"]): Share.of(row) for row in group}
        reached = [radius for radius, share in shares.items() if share.accuracy > 0]
        guarantee = Guarantee(
            network=Network(model, defence),
            sigma=float(sigma),
            radius=min(shares),
            share=shares[min(shares)],
            farthest=max(reached, default=None),
        )
        if model not in best or guarantee.share.accuracy > best[model].share.accuracy:
            best[model] = guarantee
    return best


def as_data(answer: Answer, sentences: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The answer for ``answer.json``; shares are fractions, radii in units of 1/255.

    Args:
        answer: what was found.
        sentences: the same in words, by question.
    """
    return {
        "sentences": sentences,
        "models": {
            each.model: {
                "threat_models": [_threat_data(each, threat) for threat in each.threats],
                "networks": list(map(_network_data, each.networks)),
                "guarantee": each.guarantee and _guarantee_data(each.guarantee),
            }
            for each in answer.models
        },
        "calibration": {**answer.calibration, "of": sum(answer.calibration.values())},
        "claims": answer.claims,
    }


def _threat_data(model: ModelAnswer, threat: ThreatModel) -> dict[str, Any]:
    best = model.best(threat)
    return {
        **asdict(threat),
        "robust": model.robust(threat),
        "best_defence": best and best.network.defence,
        "gains_beyond_chance": model.gains(threat),
    }


def _network_data(evaluation: Evaluated) -> dict[str, Any]:
    return {
        "defence": evaluation.network.defence,
        "images": evaluation.images,
        "original": asdict(evaluation.original),
        "worst_cases": [
            {**asdict(threat), **asdict(worst.share), "grade": worst.grade, "robust": worst.robust}
            for threat, worst in evaluation.worst.items()
        ],
        "attacks_unaware_of_the_defence": evaluation.unaware and asdict(evaluation.unaware),
        "checks": evaluation.checks,
        "failed_checks": evaluation.failed,
    }


def _guarantee_data(guarantee: Guarantee) -> dict[str, Any]:
    return {
        "defence": guarantee.network.defence,
        "sigma": guarantee.sigma,
        "norm": "l2",
        "radius": guarantee.radius,
        **asdict(guarantee.share),
        "farthest_radius": guarantee.farthest,
    }
