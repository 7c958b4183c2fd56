"""Folders as a run leaves them, made with the library's own writers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from advrob.files import store
from advrob.findings import robustness, tables
from advrob.findings.robustness import ThreatModel
from advrob.plan.names import DataSet

# Data set and defence -> which images are classified correctly, bool (N,).
Outcomes = Mapping[tuple[str, str], np.ndarray]
BOUNDS = {"pgd": ThreatModel("linf", 4), "pgd_l2": ThreatModel("l2", 128)}


def write_run(
    folder: Path,
    outcomes: Outcomes,
    *,
    seed: int = 0,
    model: str = "m",
    ids: Sequence[str],
    labels: np.ndarray | None = None,
    attack: Mapping[str, Any] | None = None,
    entries: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Data sets, scores and, where all that it needs is there, the table of robustness.

    Args:
        folder: to write into.
        outcomes: of one model.
        seed: of all files.
        model: its name.
        ids: of the images.
        labels: of the images; by default all the same.
        attack: entry of the attacks.
        entries: those of defences.
    """
    labels = np.zeros(len(ids), np.int64) if labels is None else labels
    images = {
        **{"images": np.zeros((len(ids), 1, 1, 3), np.uint8), "labels": labels},
        **{"ids": np.array(ids), "classes": np.array(["a", "b"])},
    }
    for name in dict.fromkeys(name for name, _ in outcomes):
        made = {"model": model, "attack": attack or {}, "dataset": name}
        made = {"size": 1, "part": "test"} if name == "original" else made
        file = folder / f"results/datasets/{name}.h5"
        store.save(file, "images/1", images, seed=seed, params=made, source="a test")
    files = {}
    for (name, defence), correct in outcomes.items():
        file = folder / f"results/scores/{name}/{model}/{defence}.h5"
        arrays = {
            **{"predicted": np.where(correct, labels, 1 - labels), "correct": correct},
            **{"confidence": np.full(len(ids), 0.5, np.float32), "draws": correct[None]},
            "ids": np.array(ids),
        }
        made = {"dataset": name, "model": model, "defence": defence, "model_settings": {}}
        made |= {"defence_settings": dict((entries or {}).get(defence, {}))}
        store.save(file, "scores/1", arrays, seed=seed, params=made, source=f"{name}.h5")
        files[str(file)] = (name, model, defence, "")
    if {DataSet.parse(name).family for name, _ in outcomes} == {"original", *BOUNDS}:
        evaluations = robustness.read_outcomes([*files], [*files.values()])
        stem = folder / "results/tables/table_robustness"
        tables.write(
            robustness.table_robustness(evaluations, BOUNDS),
            **{f"{kind}_path": f"{stem}.{kind}" for kind in ("csv", "markdown", "json")},
        )
    return folder
