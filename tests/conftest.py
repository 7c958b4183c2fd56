"""Fixtures that several test files share."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
from safetensors.torch import save_file

from advrob.files import store

ROOT = Path(__file__).parent.parent


def block(text: str, after: str) -> str:
    """The first block of code in a page of documentation after some text."""
    found = re.search(r"```\w*\n(.*?)```", text[text.index(after) :], re.DOTALL)
    assert found, f"no code after {after}"
    return found.group(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with Imagenette, network weights and published perturbations."""
    folder = Path(os.environ.get("ADVROB_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no folder {folder} with images and weights; name one in ADVROB_SHARED")
    return folder


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of timm's test_resnet, a network that takes next to no time."""
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), file)
    return file


class Named(dict):
    """Named values as Snakemake gives them."""


class NamedList(list):
    """Named files as Snakemake gives them: a list with names."""

    def __init__(self, **files: str) -> None:
        super().__init__(files.values())
        self.items = files.items


@pytest.fixture
def rule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """What Snakemake gives to a script."""
    snakemake = SimpleNamespace(
        wildcards=Named(model="m"),
        params=Named(seed=3, code="abc"),
        input=Named(images="in.h5"),
        output=Named(scores="out.h5"),
        resources=Named(mem_mb=1000),
        log=[str(tmp_path / "log")],
        rule="score",
        threads=1,
    )
    monkeypatch.setattr(sys.modules["__main__"], "snakemake", snakemake, raising=False)
    return snakemake


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
