"""Several runs side by side: accuracies, differences to the first run, and unlike parameters."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import fisher_exact

from advrob.errors import UserError
from advrob.files.identities import photograph
from advrob.findings import metrics
from advrob.findings.runs import ImageResults, Run
from advrob.findings.tables import NONE, Table, Value
from advrob.plan.names import DataSet

PAIRED, UNPAIRED = "paired", "unpaired"
SIGNIFICANCE = 1 - metrics.CONFIDENCE
# The columns of each run in a CSV, behind those that name its row.
COLUMNS = (
    *("run", "n", "photographs", "accuracy", "ci_low", "ci_high"),
    *("difference", "difference_low", "difference_high", "test", "photographs_in_both"),
    *("wins", "losses", "p", "p_holm", "comparisons"),
)


@dataclass(frozen=True)
class Difference:
    """How much more a run classifies correctly than the first one.

    Attributes:
        test: `PAIRED` or `UNPAIRED`.
        difference: of the accuracies.
        low: lower end of its 95 % interval.
        high: upper end.
        p: two-sided p-value of no difference.
        shared: photographs that both runs have.
        wins: of a paired test, photographs of which this run has more images right.
        losses: of a paired test, those of which the first has.
        p_holm: ``p``, corrected for all comparisons.
    """

    test: str
    difference: float
    low: float
    high: float
    p: float
    shared: int
    wins: int | None = None
    losses: int | None = None
    p_holm: float = 1.0


@dataclass(frozen=True)
class Row:
    """What all runs have of one thing.

    Attributes:
        key: what it is: a data set and a network, or a network and a threat model.
        results: by run; None where it has none.
        differences: by run, to the first; None for that, and where one of the two has none.
    """

    key: tuple[Any, Any]
    results: Sequence[ImageResults | None]
    differences: Sequence[Difference | None]


@dataclass(frozen=True)
class SideBySide:
    """Runs and what they have in common.

    Attributes:
        runs: the one that others are compared with first.
        scores: by data set and network.
        worst_cases: by network and threat model.
        comparisons: how many p-values were corrected together.
    """

    runs: Sequence[Run]
    scores: Sequence[Row]
    worst_cases: Sequence[Row]
    comparisons: int


def side_by_side(runs: Sequence[Run]) -> SideBySide:
    """Compare runs with the first one of them.

    Args:
        runs: at least two.

    Raises:
        UserError: a run has nothing in common with the first.
    """
    first, *others = runs
    for run in others:
        if not run.scores.keys() & first.scores.keys():
            raise UserError(
                f"{run.folder}: has no data set and network in common with {first.folder}: it has "
                f"{_example(run)}, and that has {_example(first)}. To compare them although names "
                "differ, add --same NAME=NAME."
            )
    scores = _rows([run.scores for run in runs])
    worst_cases = _rows([run.worst_cases for run in runs])
    every = [each for row in (*scores, *worst_cases) for each in row.differences if each]
    corrected = iter(metrics.holm([each.p for each in every]))

    def with_corrected(rows: Sequence[Row]) -> list[Row]:
        return [
            replace(
                row,
                differences=[
                    each and replace(each, p_holm=next(corrected)) for each in row.differences
                ],
            )
            for row in rows
        ]

    return SideBySide(runs, with_corrected(scores), with_corrected(worst_cases), len(every))


def _example(run: Run) -> str:
    dataset, network = next(iter(run.scores))
    return f"{dataset.name} through {network}"


def _rows(results_by_run: Sequence[Mapping[Any, ImageResults]]) -> list[Row]:
    keys = dict.fromkeys(key for results in results_by_run for key in results)
    rows = []
    for key in sorted(keys, key=_position):
        first, *others = (results.get(key) for results in results_by_run)
        differences = [difference(each, first) if each and first else None for each in others]
        rows.append(Row(key, [first, *others], [None, *differences]))
    return rows


def _position(key: tuple[Any, Any]) -> tuple[Any, ...]:
    """Original images first, then in alphabetical order."""
    if isinstance(key[0], DataSet):
        return key[0] != DataSet(), key[0].name, key[1]
    return key


def difference(results: ImageResults, first: ImageResults) -> Difference:
    """Compare what two runs classify correctly.

    Where both have the same images with the same labels, in whatever order, they are compared
    photograph by photograph: `metrics.compare`. Elsewhere they are taken as independent: the
    interval is `metrics.newcombe`'s and the test Fisher's exact one, which counts a photograph as
    correct if more than half of its images are.

    Args:
        results: of one run.
        first: of the run to compare with.
    """
    shared = len({*map(photograph, results.ids)} & {*map(photograph, first.ids)})
    row_of = {name: row for row, name in enumerate(results.ids)}
    if len(results.ids) == len(first.ids) and row_of.keys() == {*first.ids}:
        order = [row_of[name] for name in first.ids]
        if np.array_equal(results.labels[order], first.labels):
            paired = metrics.compare(results.correct[order], first.correct, first.ids)
            interval = (paired.difference, paired.low, paired.high)
            return Difference(PAIRED, *interval, paired.p, shared, paired.wins, paired.losses)
    here, there = results.accuracy, first.accuracy
    low, high = metrics.newcombe(
        *(here.accuracy * here.photographs, here.photographs),
        *(there.accuracy * there.photographs, there.photographs),
    )
    p = float(fisher_exact([_counts(results), _counts(first)]).pvalue)
    return Difference(UNPAIRED, here.accuracy - there.accuracy, low, high, p, shared)


def _counts(results: ImageResults) -> tuple[int, int]:
    """Photographs that are classified correctly, and those that are not."""
    balance: Counter[str] = Counter()
    for name, correct in zip(results.ids, results.correct, strict=True):
        balance[photograph(name)] += 1 if correct else -1
    wins = sum(surplus > 0 for surplus in balance.values())
    return wins, len(balance) - wins


def table_scores(compared: SideBySide) -> Table:
    """Accuracy of every network on every data set, run by run."""
    return _table(
        compared,
        compared.scores,
        title="Accuracy of each network on each data set",
        columns=("dataset", "model", "defence"),
        header=("Data set", "Model", "Defence"),
        remark="Of a stochastic defence the first draw counts, as in Table 1.",
    )


def table_worst_cases(compared: SideBySide) -> Table:
    """Accuracy in the worst case of each norm and radius, run by run."""
    missing = [run.name for run in compared.runs if not run.worst_cases]
    return _table(
        compared,
        compared.worst_cases,
        title="Worst case of each norm and radius",
        columns=("model", "defence", "norm", "radius"),
        header=("Model", "Defence", "Attacks within"),
        remark="An image counts if the network classifies it correctly as it is and under every "
        "attack of that norm and at most that radius, in units of 1/255. The letter grades the "
        "evidence, as in `table_robustness`. Runs may have different attacks: see what they "
        "differ in." + (f" Without `table_robustness`: {', '.join(missing)}." if missing else ""),
    )


def _table(
    compared: SideBySide,
    rows: Sequence[Row],
    *,
    title: str,
    columns: Sequence[str],
    header: Sequence[str],
    remark: str,
) -> Table:
    first, *others = compared.runs
    headings = [*header, f"{first.name}, %"]
    for run in others:
        headings += [f"{run.name}, %", f"{run.name} less {first.name}, points", "p, corrected"]
    return Table(
        columns=(*columns, *COLUMNS, *(["grade"] if "norm" in columns else [])),
        rows=[line for row in rows for line in _csv_rows(compared, row)],
        title=title,
        header=headings,
        lines=[(*_shown_key(row.key), _shown(row.results[0]), *_shown_others(row)) for row in rows],
        remark=f"{remark} {_tests(compared)}",
        answer="; ".join(_verdict(run.name, number, rows) for number, run in enumerate(others, 1)),
    )


def _tests(compared: SideBySide) -> str:
    return (
        "In brackets are 95 % intervals: Wilson's of an accuracy, Tango's of a difference. A "
        "p-value is that of an exact two-sided McNemar test, photograph by photograph, where both "
        "runs have the same images (ids and labels). Where they do not, it is marked unpaired: "
        "the two are taken as independent, even if they share photographs, the test is Fisher's "
        "exact one and the interval Newcombe's. All count photographs, not crops. p-values are "
        f"corrected for all {compared.comparisons} comparisons of the runs after Holm, intervals "
        "are not."
    )


def _verdict(name: str, number: int, rows: Sequence[Row]) -> str:
    differences = [each for row in rows if (each := row.differences[number])]
    significant = sum(each.p_holm <= SIGNIFICANCE for each in differences)
    return f"{name}: {significant} of {len(differences)} differ significantly"


def _csv_rows(compared: SideBySide, row: Row) -> list[tuple[Value, ...]]:
    lines: list[tuple[Value, ...]] = []
    for run, results, change in zip(compared.runs, row.results, row.differences, strict=True):
        if results is None:
            continue
        result = results.accuracy
        numbers = (result.n, result.photographs, result.accuracy, result.low, result.high)
        tested: tuple[Value, ...] = ("",) * (len(COLUMNS) - len(numbers) - 1)
        if change:
            tested = (
                *(change.difference, change.low, change.high, change.test, change.shared),
                *("" if each is None else each for each in (change.wins, change.losses)),
                *(f"{change.p:.6g}", f"{change.p_holm:.6g}", compared.comparisons),
            )
        grade = (results.grade,) if results.grade else ()
        lines.append((*_written_key(row.key), run.name, *numbers, *tested, *grade))
    return lines


def _written_key(key: tuple[Any, Any]) -> tuple[Value, ...]:
    if isinstance(key[0], DataSet):
        return key[0].name, key[1].model, key[1].defence
    return key[0].model, key[0].defence, key[1].norm, key[1].radius


def _shown_key(key: tuple[Any, Any]) -> tuple[str, ...]:
    if isinstance(key[0], DataSet):
        return key[0].name, key[1].model, key[1].defence
    return key[0].model, key[0].defence, f"{key[1]}/255"


def _shown(results: ImageResults | None) -> str:
    if results is None:
        return NONE
    result = results.accuracy
    grade = f", {results.grade}" if results.grade else ""
    return f"{100 * result.accuracy:.1f} ({100 * result.low:.1f} to {100 * result.high:.1f}){grade}"


def _shown_others(row: Row) -> list[str]:
    cells = []
    for results, change in zip(row.results[1:], row.differences[1:], strict=True):
        cells.append(_shown(results))
        if change is None:
            cells += [NONE, NONE]
            continue
        interval = f"({100 * change.low:+.1f} to {100 * change.high:+.1f})"
        mark = f", {UNPAIRED}" if change.test == UNPAIRED else ""
        cells += [f"{100 * change.difference:+.1f} {interval}", f"{change.p_holm:.2g}{mark}"]
    return cells


def table_parameters(runs: Sequence[Run]) -> Table:
    """What the runs differ in: seed, entries of the configuration, versions of packages."""
    names = sorted({name for run in runs for name in run.parameters})
    differing = [name for name in names if _differs(name, runs)]
    unknown = [run.name for run in runs if not run.has_versions]
    lines = [(name, *(run.parameters.get(name, NONE) for run in runs)) for name in differing]
    return Table(
        columns=("parameter", *(run.name for run in runs)),
        rows=lines,
        title="What the runs differ in",
        header=("Parameter", *(run.name for run in runs)),
        lines=lines,
        remark="As each score and data set says that it was made, under the names of the "
        f"configuration; {NONE} where a run has no such file or key."
        + (
            f" Versions of packages are not recorded in {', '.join(unknown)}: `snakemake report` "
            "records them."
            if unknown
            else ""
        ),
        answer=f"{len(differing)} of {len(names)} parameters differ",
    )


def _differs(name: str, runs: Sequence[Run]) -> bool:
    compared = [run for run in runs if run.has_versions or not name.startswith("versions.")]
    return len({run.parameters.get(name) for run in compared}) > 1
