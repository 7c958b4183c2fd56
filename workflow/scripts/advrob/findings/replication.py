"""The paper's claims, each with its verdict on our results."""

from collections import Counter
from collections.abc import Mapping, Sequence

from advrob.files import identities
from advrob.findings import claims, paper
from advrob.findings.claims import Claim, Finding
from advrob.findings.tables import NONE, Result, Table, Value

COLUMNS = (
    *("id", "section", "claim", "model", "datasets", "attack", "photographs"),
    *("paper", "ours", "ci_low", "ci_high", "test", "verdict", "reason"),
)


def play(
    results: Sequence[Result], model: str, universal: str, parts: Mapping[str, str]
) -> dict[str, Result]:
    """A model's results by the cells that claims name.

    Args:
        results: of any models.
        model: the model's name.
        universal: the data set that plays the paper's Universal.
        parts: the part that a defence plays -> its name in the configuration.
    """
    known = {(r.dataset, r.defence): r for r in results if r.model == model}
    datasets = {"original": "original", "universal": universal}
    datasets |= {f"gradient-{part}": f"gradient-{model}-{name}" for part, name in parts.items()}
    return {
        f"{dataset}/{part}": known[actual, name]
        for dataset, actual in datasets.items()
        for part, name in parts.items()
        if (actual, name) in known
    }


def judge(claim: Claim, results: Mapping[str, Result]) -> Finding:
    """The verdict on a claim; `claims.NOT_TESTED` where results lack a cell that it needs."""
    if missing := [cell for cell in claim.cells if cell not in results]:
        return Finding(claims.NOT_TESTED, f"the configuration does not make {', '.join(missing)}")
    return claim.judge(results)


def replication(
    results: Sequence[Result], universal: Mapping[str, str], parts: Mapping[str, str]
) -> Table:
    """All of `claims.CLAIMS` for each model.

    Args:
        results: what networks got right.
        universal: model -> the data set that plays the paper's Universal.
        parts: see `play`.
    """
    rows: list[tuple[Value, ...]] = []
    lines: list[tuple[str, ...]] = []
    verdicts: Counter[str] = Counter()
    for model, dataset in universal.items():
        cells = play(results, model, dataset, parts)
        for claim in claims.CLAIMS:
            found = judge(claim, cells)
            verdicts[found.verdict] += 1
            of = [cells[cell] for cell in found.cells]
            where = dict.fromkeys(result.dataset for result in of)
            attacks: dict[str, None] = dict.fromkeys(result.knowledge for result in of)
            if len(attacks) > 1:
                attacks.pop("none", None)
            photographs = len(set(map(identities.photograph, of[0].ids))) if of else ""
            numbers = (found.paper, found.ours, found.low, found.high)
            rows.append(
                (
                    *(claim.id, claim.section, claim.text, model, " ".join(where)),
                    *(" ".join(attacks), photographs),
                    *("" if number is None else number for number in numbers),
                    *(found.test, found.verdict, found.reason),
                )
            )
            theirs, ours, low, high = (_percent(number, found) for number in numbers)
            lines.append(
                (
                    *(claim.id, claim.section, claim.text, model, ", ".join(where) or NONE),
                    *(", ".join(attacks) or NONE, theirs, ours),
                    NONE if found.ours is None else f"{low} to {high}",
                    *(found.test or NONE, f"**{found.verdict}**", found.reason),
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


def _percent(value: float | None, found: Finding) -> str:
    if value is None:
        return NONE
    return f"{100 * value:.2f}" if len(found.cells) == 1 else f"{100 * value:+.2f}"
