"""Denoisers as defences: the input files of their jobs, and one that learns from a model."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import timm
import yaml
from PIL import Image
from safetensors.torch import save_file

from conftest import ROOT
from denoisers import ffdnet_weights

TINY = {"kind": "timm", "architecture": "test_resnet", "weights": "tiny.safetensors"}
CONFIG: dict[str, Any] = {
    "images_root": "photos",
    "images": {"layout": "table", "size": 32, "fit": {"table": "fit.csv"}},
    "models": {"tiny": TINY},
    "defences": {
        "stable": {"kind": "dncnn", "stability": "tiny", "epochs": 1, "features": 4, "blocks": 1},
        "after_training": {"kind": "dncnn", "stability": "standard"},
        "ffdnet": {"sigma": 16, "weights": "ffdnet.pth"},
    },
    "experiments": {"models": ["tiny"]},
}
STABLE = "results/defences/shared/stable.h5"


def snakemake(folder: Path, *arguments: object) -> str:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--cores", "1", *map(str, arguments)]
    command += ["--configfile", str(folder / "run.yaml")]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    output = process.stdout + process.stderr
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Path:
    """A folder with photographs and weights."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "photos").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"photos/{number}.png")
    for part, numbers in {"test": range(2), "fit": range(2, 6)}.items():
        lines = ["file,label", *(f"{number}.png,{number}" for number in numbers)]
        (folder / f"photos/{part}.csv").write_text("\n".join(lines))
    shutil.copy(ROOT / "config.yaml", folder)
    shutil.copy(tiny_weights, folder / "tiny.safetensors")
    ffdnet_weights(folder / "ffdnet.pth")
    config = CONFIG | {"images": CONFIG["images"] | {"test": {"table": "test.csv"}}}
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    return folder


def inputs(output: str) -> dict[str, list[str]]:
    """The input files of the jobs of a dry run, by their first output."""
    inputs_by_output: dict[str, list[str]] = {}
    files: list[str] = []
    for line in output.splitlines():
        name, _, value = line.strip().partition(": ")
        if name == "input":
            files = value.split(", ")
        elif name == "output":
            inputs_by_output[value.split(", ")[0]] = files
    return inputs_by_output


def test_a_denoiser_waits_for_the_model_that_it_learns_from(folder: Path) -> None:
    trained = "results/defences/shared/after_training.h5"
    waiting = inputs(snakemake(folder, "--dry-run", STABLE, trained))
    assert {*waiting[STABLE]} == {"results/images/fit.h5"}
    assert {*waiting[trained]} == {"results/images/fit.h5", "results/models/standard.h5"}
    assert "results/models/standard.h5" in waiting


def test_a_denoiser_learns_from_a_model_and_again_when_that_is_another(folder: Path) -> None:
    snakemake(folder, STABLE)
    with h5py.File(folder / STABLE) as file:
        assert json.loads(file.attrs["params"])["stability"] == {"model": "tiny", **TINY}
        assert np.isfinite(file["last.weight"]).all()
    assert "Nothing to be done" in snakemake(folder, STABLE)
    other = timm.create_model("test_resnet", pretrained=False).state_dict()
    save_file(other, folder / "tiny.safetensors")
    again = snakemake(folder, "--dry-run", STABLE)
    assert "reason: Params have changed since last execution" in again
