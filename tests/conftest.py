"""Fixtures that several test files share."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from advrob import store

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with Imagenette, network weights and published perturbations."""
    folder = Path(os.environ.get("ADVROB_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no folder {folder} with images and weights; name one in ADVROB_SHARED")
    return folder


def write_scores(
    folder: Path, dataset: str, model: str, defence: str, correct: np.ndarray, ids: Sequence[str]
) -> str:
    """A score file of one draw, under the name that it has in ``results/scores``."""
    path = folder / dataset / model / f"{defence}.h5"
    params = {"dataset": dataset, "model": model, "defence": defence}
    arrays = {
        "predicted": np.where(correct, 0, 1).astype(np.int64),
        "correct": correct,
        "confidence": np.full(len(ids), 0.5, np.float32),
        "draws": correct[None],
        "ids": np.array(ids),
    }
    with store.write(path, "scores/1", seed=0, params=params, source="a test") as file:
        store.put(file, arrays)
    return str(path)
