"""What evaluators say of networks whose robustness is known and hidden, for docs/results.md.

    PYTHONPATH=workflow/scripts python benchmarks/twins.py results/images/test.h5 --before FOLDER

FOLDER is a checkout of version 0.1 of this project (git worktree add FOLDER 94eaab4), whose
attacks are measured beside today's. Writes benchmarks/recorded/twins.json; benchmarks/record.py
then writes the page.
"""

import argparse
import importlib
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from advrob.evaluation import benchmark
from advrob.files import store
from advrob.findings.calibration import HONEST, WORST_CASE
from advrob.findings.tables import NONE
from advrob.job.compute import Job
from record import keep, provenance

SIZE, SEED = 64, 2017
# The attacks of the default configuration and of the presets, within l_inf.
ENTRIES: dict[str, dict[str, dict[str, Any]]] = {
    "default": {
        "pgd": {"step": 1, "iterations": 20},
        "apgd_ce": {"loss": "cross_entropy", "iterations": 20},
        "apgd_dlr": {"loss": "logits_ratio", "iterations": 20},
        "square": {"queries": 50},
    },
    "presets, with search": {
        "pgd": {"step": 1, "iterations": 50},
        "apgd_ce": {"loss": "cross_entropy", "iterations": 100},
        "apgd_dlr": {"loss": "logits_ratio", "iterations": 100},
        "square": {"queries": 1000},
        "search": {"iterations": 100},
    },
}
Makers = dict[str, dict[str, Callable[[float], Any]]]


def today(entries: Mapping[str, Mapping[str, Any]]) -> Makers:
    """Today's attacks, by norm and name."""
    bound = {"norm": "linf", "radius": 4}
    return benchmark.calibrated_attacks(
        {
            name: {"kind": name.partition("_")[0], "norm": "linf", "options": bound | options}
            for name, options in entries.items()
        }
    )


def before(folder: Path, entries: Mapping[str, Mapping[str, Any]]) -> Makers:
    """The same attacks of the version in ``folder``, imported under another name."""
    copy = Path(tempfile.mkdtemp())
    shutil.copytree(folder / "workflow/scripts/advrob", copy / "advrob_before")
    for file in (copy / "advrob_before").rglob("*.py"):
        file.write_text(re.sub(r"\badvrob\b", "advrob_before", file.read_text()))
    sys.path.append(str(copy))

    def make(kind: str, options: Mapping[str, Any], radius: float) -> Callable[..., Tensor]:
        attack = getattr(importlib.import_module(f"advrob_before.attacks.{kind}"), kind)
        scaled = dict(options) | {"radius": radius}
        if kind != "square":  # which had no other norm
            scaled["norm"] = "linf"
        if "step" in options:
            scaled["step"] = options["step"] * radius / 4
        return partial(attack, **scaled)

    makers = {
        name: partial(make, name.partition("_")[0], options) for name, options in entries.items()
    }
    return {"linf": makers}


def main() -> None:
    """Measure, and record the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="test images")
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--radius", type=int, default=26, help="l_inf, in units of 1/255")
    options = parser.parse_args()
    with store.read(options.file, "images/1") as source:
        everything = source["labels"][:]
        order = np.random.default_rng(SEED).permutation(len(everything))
        rows = np.sort(order[: options.images])
        pixels, labels = benchmark.reduced(source["images"][:][rows], SIZE), everything[rows]
    job = Job.of(seed=SEED, device_name="cpu", batch_size=64)
    evaluators = {"version 0.1": before(options.before, ENTRIES["default"])}
    evaluators |= {name: today(entries) for name, entries in ENTRIES.items()}
    lines: dict[str, list[str]] = {}
    flags: dict[str, str] = {}
    for makers in evaluators.values():
        # Made anew, since some twins draw random numbers.
        networks = benchmark.known_networks(pixels, labels, twins=True, job=job)
        radii = {"linf": [options.radius]}
        for record in benchmark.measure(networks, pixels, labels, makers, radii, job):
            if record.attack == WORST_CASE:
                line = lines.setdefault(record.network, [record.network, f"{record.truth:.0%}"])
                line.append(f"{record.found:.0%}")
                flags[record.network] = record.flagged
    keep(
        "twins",
        "Masked twins: accuracy in truth, and what evaluators find",
        ["Network", "Truth", *evaluators, "The check-up has against it"],
        [[*line, flags[name] or NONE] for name, line in lines.items()],
        f"{len(labels)} photographs, l_inf {options.radius}/255, on a network of class templates "
        f"(`{HONEST}`) and twins that predict the same and hide their gradients. The worst case "
        "over all attacks of each evaluator. Version 0.1 had no check-up, and no search for "
        "another backward pass.",
        **provenance(),
    )


if __name__ == "__main__":
    main()
