"""The paper's claims, each with its verdict on our results."""

from collections import Counter
from collections.abc import Mapping, Sequence

from advrob.files import identities
from advrob.findings import claims, paper
from advrob.findings.claims import Claim, Finding
from advrob.findings.tables import NONE, Result, Table, Value
from advrob.plan.names import GRADIENT, DataSet, Network

COLUMNS = (
    *("id", "section", "claim", "model", "datasets", "attack", "photographs"),
    *("paper", "ours", "ci_low", "ci_high", "test", "verdict", "reason"),
)


def play(
    results: Sequence[Result],
    model: str,
    universal: Mapping[str, str],
    parts: Mapping[str, str],
    trained: Mapping[str, str],
) -> dict[str, Result]:
    """A model's results by the cells that claims name.

    Args:
        results: of any models.
        model: the model's name.
        universal: model -> the data set that plays the paper's Universal.
        parts: the part that a defence plays -> its name in the configuration.
        trained: lesson -> the model that was trained by it from this one.
    """
    by_cell = {(r.dataset, r.model, r.defence): r for r in results}
    datasets = {"original": "original", "universal": universal[model]}
    datasets |= {
        f"gradient-{part}": DataSet(GRADIENT, Network(model, name)).name
        for part, name in parts.items()
    }
    datasets |= {
        f"{claims.UNIVERSAL_OF}{other}": dataset
        for other, dataset in universal.items()
        if dataset != universal[model]
    }
    networks = {part: (model, name) for part, name in parts.items()}
    networks |= {f"{claims.TRAINED}{lesson}": (name, "none") for lesson, name in trained.items()}
    return {
        f"{dataset}/{part}": by_cell[actual, *network]
        for dataset, actual in datasets.items()
        for part, network in networks.items()
        if (actual, *network) in by_cell
    }


def judge(claim: Claim, results: Mapping[str, Result]) -> Finding:
    """The verdict on a claim; `claims.NOT_TESTED` where results lack a cell that it needs."""
    if missing := [cell for cell in claim.cells if cell not in results]:
        return Finding(claims.NOT_TESTED, f"the configuration does not make {', '.join(missing)}")
    return claim.judge(results)


def replication(
    results: Sequence[Result],
    universal: Mapping[str, str],
    parts: Mapping[str, str],
    trained: Mapping[str, Mapping[str, str]],
) -> Table:
    """All of `claims.CLAIMS` for each model.

    Args:
        results: what networks got right.
        universal: model -> the data set that plays the paper's Universal.
        parts: see `play`.
        trained: model -> lesson -> the model that was trained by it; see `play`.
    """
    rows: list[tuple[Value, ...]] = []
    lines: list[tuple[str, ...]] = []
    verdicts: Counter[str] = Counter()
    for model in universal:
        cells = play(results, model, universal, parts, trained.get(model, {}))
        for claim in claims.CLAIMS:
            finding = judge(claim, cells)
            verdicts[finding.verdict] += 1
            cited = [cells[cell] for cell in finding.cells]
            datasets = dict.fromkeys(result.dataset for result in cited)
            attacks: dict[str, None] = dict.fromkeys(result.knowledge for result in cited)
            if len(attacks) > 1:
                attacks.pop("none", None)
            photographs = len(set(map(identities.photograph, cited[0].ids))) if cited else ""
            numbers = (finding.paper, finding.ours, finding.low, finding.high)
            rows.append(
                (
                    *(claim.id, claim.section, claim.text, model, " ".join(datasets)),
                    *(" ".join(attacks), photographs),
                    *("" if number is None else number for number in numbers),
                    *(finding.test, finding.verdict, finding.reason),
                )
            )
            theirs, ours, low, high = (_percent(number, finding) for number in numbers)
            lines.append(
                (
                    *(claim.id, claim.section, claim.text, model, ", ".join(datasets) or NONE),
                    *(", ".join(attacks) or NONE, theirs, ours),
                    NONE if finding.ours is None else f"{low} to {high}",
                    *(finding.test or NONE, f"**{finding.verdict}**", finding.reason),
                )
            )
    counts = ", ".join(
        f"{verdicts[name]} {name}" for name in (*reversed(claims.VERDICTS), claims.NOT_TESTED)
    )
    return Table(
        columns=COLUMNS,
        rows=rows,
        title=f"Replication: {counts}",
        header=(
            *("Id", "Section", "Claim", "Model", "Data sets", "Attack", "Paper", "Ours"),
            *("95 % interval", "Test", "Verdict", "Reason"),
        ),
        lines=lines,
        remark="Accuracies in %, differences (with a sign) in points. A claim is reproduced if all "
        "of the interval agrees with it, not reproduced if none of it does, undecided otherwise; "
        "a number of the paper's tables is reproduced if ours may be the same. Intervals count "
        "photographs, not crops: Wilson's for an accuracy, Tango's for a difference on the same "
        "photographs. Verdicts are not corrected for the number of claims. Paper: "
        f"{paper.CITATION}, {paper.IMAGES:,} images.",
        accuracies=[result.accuracy for result in results],
    )


def _percent(value: float | None, finding: Finding) -> str:
    if value is None:
        return NONE
    return f"{100 * value:.2f}" if len(finding.cells) == 1 else f"{100 * value:+.2f}"
