"""Fixtures that several test files share."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from advrob.files import store
from advrob.job.compute import Job
from advrob.plan.plan import NetworkDescription

ROOT = Path(__file__).parent.parent

# Files of tests that run whole workflows, the longest first: short ones fill what is left of the
# time where several processes share the tests (`pytest -n`).
FIRST = [
    f"tests/workflow/test_{name}.py"
    for name in ("workflow", "slurm", "environments", "style", "documentation", "module")
]
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each process is one of several. Jobs of workflows say their threads themselves.
    torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Give a file's tests to one process, for they share what they need, in the order below."""
    if config.getoption("dist", "no") == "load":
        config.option.dist, config.option.loadscopereorder = "loadfile", False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    order = {ROOT / file: position for position, file in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


def block(text: str, after: str) -> str:
    """The first block of code in a page of documentation after some text."""
    match = re.search(r"```\w*\n(.*?)```", text[text.index(after) :], re.DOTALL)
    assert match, f"no code after {after}"
    return match.group(1)


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


def a_job(*, seed: int = 3, batch_size: int = 4) -> Job:
    """What a script is given to compute by, on a CPU."""
    return Job.of(seed=seed, device_name="cpu", batch_size=batch_size)


def tiny_network(
    weights: Path | str,
    defence: str = "none",
    entry: Mapping[str, Any] | None = None,
    *,
    learned: str | None = None,
) -> NetworkDescription:
    """What a script is told of the network of `tiny_weights` behind a defence.

    Args:
        weights: the network's.
        defence: its name, which is its kind.
        entry: its entry in the configuration.
        learned: the file with what it learned.
    """
    return {
        "model": "tiny",
        "defence": defence,
        "model_settings": {"kind": "timm", "architecture": "test_resnet", "weights": str(weights)},
        "defence_settings": entry or {},
        "members": [defence],
        "learned": {f"defence {defence}": learned} if learned else {},
    }


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


def cell_of(path: str, role: str = "") -> tuple[str, str, str, str]:
    """The cell that a score file is of, by its name: data set, model, defence; and its role."""
    *_, dataset, model, file = Path(path).parts
    return dataset, model, Path(file).stem, role


def write_scores(
    folder: Path, dataset: str, model: str, defence: str, correct: np.ndarray, ids: Sequence[str]
) -> str:
    """A score file under the name that it has in ``results/scores``.

    Args:
        folder: in place of that.
        dataset: what the network was scored on.
        model: of the network.
        defence: of the network.
        correct: bool ``(N,)``, or ``(draws, N)``.
        ids: of the images.
    """
    path = folder / dataset / model / f"{defence}.h5"
    params = {"dataset": dataset, "model": model, "defence": defence}
    draws = np.atleast_2d(correct)
    arrays = {
        "predicted": np.where(draws[0], 0, 1).astype(np.int64),
        "correct": draws[0],
        "confidence": np.full(len(ids), 0.5, np.float32),
        "draws": draws,
        "ids": np.array(ids),
    }
    store.save(path, "scores/1", arrays, seed=0, params=params, source="a test")
    return str(path)
