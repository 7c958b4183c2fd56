"""What a report is made of: rows of its tables, and the record of a job."""

import csv

from advrob.job.record import Record

RECORD = Record(
    machine="a processor, 2 cores, 8 GB",
    node="n",
    gpus=None,
    threads=1,
    device="cpu (2 threads)",
    precision="float32",
    succeeded=True,
    seconds=1.5,
    memory=100_000_000,
)


def robustness_rows(worst, model="m", grade="A", width=0.05, n=100):
    """Rows of ``table_robustness.csv``; ``worst`` has the right images of 100 by defence."""
    rows = []
    for defence, correct in worst.items():
        cells = [("none", "original", 0.8, "–", "–", "–")]
        if defence != "none":
            cells += [
                ("matched", "pgd", 0.6, "linf", "4.000000", "–"),
                ("matched", "pgd_l2", 0.1, "l2", "128.000000", "–"),
                ("matched", "universal", 0.2, "linf", "10.000000", "–"),
            ]
        cells += [
            ("adaptive", "pgd", 0.3, "linf", "4.000000", "–"),
            ("all", "worst case", correct / 200, "l2", "128.000000", "C"),
            ("all", "worst case", correct / 100, "linf", "4.000000", grade),
            ("all", "worst case", 0.0, "linf", "10.000000", "D"),
        ]
        rows += [
            {
                **{"model": model, "defence": defence, "knowledge": knowledge, "attack": attack},
                **{"n": str(n), "accuracy": f"{share}", "ci_low": f"{share - width:.6f}"},
                **{"ci_high": f"{share + width:.6f}", "spread": "0", "checks": "passed"},
                **{"norm": norm, "radius": radius, "grade": mark},
            }
            for knowledge, attack, share, norm, radius, mark in cells
        ]
    return rows


def check_rows(*verdicts, defence="none", model="m"):
    return [
        {"model": model, "defence": defence, "check": f"check {i}", "verdict": verdict}
        for i, verdict in enumerate(verdicts)
    ]


def certified_rows(shares, defence="noise", sigma="16", model="m", dataset="original"):
    return [
        {
            **{"dataset": dataset, "model": model, "defence": defence, "sigma": sigma},
            **{"radius": f"{radius}", "accuracy": f"{share}", "ci_low": "0.1", "ci_high": "0.9"},
        }
        for radius, share in shares.items()
    ]


def verdict_rows(*verdicts):
    return [{"verdict": verdict} for verdict in verdicts]


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return str(path)
