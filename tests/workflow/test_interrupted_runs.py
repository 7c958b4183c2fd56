"""The same command after something happened: a change, a loss, a kill."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from PIL import Image

from conftest import ROOT

SCORE = "results/scores/original/tiny/noise.h5"
CONFIG = {
    "images_root": "photos",
    "batch_size": 8,
    "images": {
        "layout": "table",
        "size": 32,
        "test": {"table": "test.csv"},
        "fit": {"table": "fit.csv"},
    },
    "models": {
        "tiny": {"kind": "timm", "architecture": "test_resnet", "weights": "w.safetensors"},
        "standard": {"base": "tiny"},
        "adversarial": {"base": "tiny"},
        "gan": {"base": "tiny"},
        "multitask": {"base": "tiny"},
    },
    "experiments": {"models": ["tiny"], "draws": 2, "preventive": None, "smoothing": None},
}


def command(folder: Path, *arguments: object) -> list[str]:
    start = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    return [*start, "--directory", str(folder), "--cores", "1", *map(str, arguments)]


def snakemake(folder: Path, *arguments: object, config: str = "") -> str:
    """All that a run says."""
    (folder / "more.yaml").write_text(config or "{}")
    asked = command(folder, *arguments, "--configfile", folder / "x.yaml", folder / "more.yaml")
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(asked, capture_output=True, text=True, env=environment)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Path:
    """A folder with photographs, and a score that was computed."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "photos").mkdir()
    for part in range(2):
        lines = ["file,label"]
        for number in range(4 * part, 4 * part + 4):
            pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"photos/{number}.jpg")
            lines.append(f"{number}.jpg,{number}")
        (folder / f"photos/{('test', 'fit')[part]}.csv").write_text("\n".join(lines))
    shutil.copy(ROOT / "config.yaml", folder)
    shutil.copy(tiny_weights, folder / "w.safetensors")
    (folder / "x.yaml").write_text(yaml.safe_dump(CONFIG))
    said = snakemake(folder, SCORE)
    assert (folder / SCORE).exists(), said
    return folder


@pytest.fixture
def folder(scored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scored, tmp_path / "copy"))


def planned(folder: Path, config: str = "") -> set[str]:
    """The rules that a change reruns."""
    said = snakemake(folder, SCORE, "--dry-run", config=config)
    return {rule for rule in re.findall(r"^(\w+) +\d+$", said, re.MULTILINE) if rule != "total"}


ALL = {"images", "original", "score"}


@pytest.mark.parametrize(
    ("config", "rules"),
    [
        ("{}", set()),
        ("defences: {noise: {maximum: 11}}", {"score"}),
        ("models: {tiny: {size: 64}}", {"score"}),
        ("experiments: {draws: 3}", {"score"}),
        ("defences: {downsample: {ratio: 0.3}}", set()),
        ("seed: 3", ALL),
        ("images: {size: 64}", ALL),
    ],
)
def test_a_change_reruns_what_it_concerns(scored: Path, config: str, rules: set[str]) -> None:
    assert planned(scored, config) == rules


def test_a_key_that_stands_twice_is_refused(scored: Path) -> None:
    """YAML takes the last, without a word."""
    twice = "experiments: {draws: 7}\nexperiments: {noise_magnitudes: [0, 5]}\n"
    said = snakemake(scored, SCORE, "--dry-run", config=twice)
    assert "more.yaml: found experiments in line 1 and again in line 2. Expected" in said


def test_a_label_or_a_photograph_that_changed_reruns_all_that_is_made_of_it(folder: Path) -> None:
    table = folder / "photos/test.csv"
    before = table.read_text()
    table.write_text(before.replace("0.jpg,0", "0.jpg,500"))
    assert planned(folder) == ALL
    table.write_text(before)
    assert planned(folder) == set()
    shutil.copy(folder / "photos/7.jpg", folder / "photos/1.jpg")
    assert planned(folder) == ALL


def test_without_snakemakes_records_results_speak_for_themselves(folder: Path) -> None:
    shutil.rmtree(folder / ".snakemake")
    assert planned(folder) == set()
    shutil.rmtree(folder / ".snakemake")
    said = snakemake(folder, SCORE, "--dry-run", config="{seed: 3, images: {size: 64}}")
    assert (
        "results/datasets/original.h5: was made with size 32, seed 2017, expected size 64" in said
    )
    assert "Traceback" not in said
    said = snakemake(folder, SCORE, config="defences: {noise: {maximum: 11}}")
    assert f"{SCORE}: was made with defence_settings.maximum 10, expected" in said
    (folder / SCORE).unlink()
    assert planned(folder, "defences: {noise: {maximum: 11}}") == {"score"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_the_same_command_resumes_after_a_kill(folder: Path, number: signal.Signals) -> None:
    shutil.rmtree(folder / "results")
    asked = command(folder, SCORE, "--configfile", folder / "x.yaml")
    # Tests that began under nohup would hand down that SIGHUP is ignored.
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with subprocess.Popen(
        asked, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        signal.signal(signal.SIGHUP, hang_up)
        until = time.monotonic() + 120
        while not list((folder / ".snakemake/incomplete").glob("*")):
            assert time.monotonic() < until
            time.sleep(0.1)
        os.killpg(run.pid, number)
    assert list((folder / ".snakemake/locks").glob("*.lock"))
    # As if the first of two outputs had been there.
    (folder / "results/images").mkdir(parents=True, exist_ok=True)
    (folder / "results/images/test.h5").touch()
    said = snakemake(folder, SCORE)
    assert f"Going on after a run that was killed (process {run.pid})." in said
    with h5py.File(folder / SCORE) as file:
        assert file["draws"].shape == (2, 4)
