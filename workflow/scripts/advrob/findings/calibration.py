"""How near the attacks come to known truth, and which masked networks are noticed."""

from collections.abc import Sequence

from advrob.files.records import load_records
from advrob.findings.tables import NONE, Table

# The worst case over all attacks may be so far above the truth: on the honest network, and on a
# masked twin that the check-up does not flag.
HONEST_GAP, TWIN_GAP = 0.01, 0.05
HONEST, WORST_CASE = "honest", "worst case"
COLUMNS = (
    *("network", "attack", "norm", "radius", "n", "truth", "found", "gap"),
    *("violated", "flagged", "error", "verdict"),
)


def verdict(record: dict) -> str:
    """What a worst case says of the evaluator: ``passed``, ``flagged`` or ``failed``."""
    limit = HONEST_GAP if record["network"] == HONEST else TWIN_GAP
    if record["violated"]:
        return "failed"
    if record["gap"] <= limit + 1e-9:
        return "passed"
    return "flagged" if record["flagged"] and record["network"] != HONEST else "failed"


def table_calibration(files: Sequence[str]) -> Table:
    """Every attack on every network of known truth, and the worst case of each.

    Args:
        files: of measurements.
    """
    records = [dict(record) for path in files for record in load_records(path)[1]]
    worst = [record for record in records if record["attack"] == WORST_CASE]
    verdicts = [verdict(record) for record in worst]
    passed = sum(each != "failed" for each in verdicts)
    return Table(
        columns=COLUMNS,
        rows=[
            (
                *(record["network"], record["attack"], record["norm"], float(record["radius"])),
                *(record["images"], record["truth"], record["found"], record["gap"]),
                *(record["violated"], record["flagged"], record["error"].partition("\n")[0]),
                verdict(record) if record["attack"] == WORST_CASE else "",
            )
            for record in records
        ],
        title="Calibration: attacks on networks whose robustness is known exactly",
        header=(
            *("Network", "Norm", "Radius", "Truth, %", "Worst case found, %", "Gap, points"),
            *("Check-up has against it", "Verdict"),
        ),
        lines=[
            (
                *(record["network"], record["norm"], f"{record['radius']:g}"),
                *(f"{100 * record[key]:.1f}" for key in ("truth", "found", "gap")),
                *(record["flagged"] or NONE, judged if judged != "failed" else "**failed**"),
            )
            for record, judged in zip(worst, verdicts, strict=True)
        ],
        remark="The honest network's logits are linear in the image, so its accuracy within a "
        "radius follows from a formula. Masked twins predict the same and hide their gradients. "
        "Passed: the worst case is at most 1 point above the truth on the honest network, 5 on a "
        "twin. Flagged: it is further above, and the check-up says that the network hides "
        "something. Failed: neither, or an image was fooled though the formula says that it cannot "
        "be. Radii are in units of 1/255.",
        answer=f"{passed} of {len(worst)} worst cases are right or flagged",
    )
