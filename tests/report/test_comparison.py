"""Runs side by side, as the command writes them."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_report import EVIL, Page

from advrob import compare
from advrob.findings import tables
from conftest import ROOT, block
from run_folders import write_run

RUNNING = (ROOT / "docs/running.md").read_text()
IDS = [f"{i}.jpg" for i in range(20)]
OUTCOMES = {
    ("original", "none"): np.arange(20) < 18,
    ("pgd-m-none", "none"): np.arange(20) < 2,
    ("pgd_l2-m-none", "none"): np.arange(20) < 3,
}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two runs, in a folder that is the working folder."""
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        write_run(Path(f"seed{seed}"), OUTCOMES, seed=seed, ids=IDS)
    return ["seed0", "seed1"]


def test_the_documented_command_makes_the_page_and_its_tables(folders):
    *_, command = block(RUNNING, "## Several runs").splitlines()
    assert command.startswith("python -m advrob.compare ")
    environment = {"PYTHONPATH": str(ROOT / "workflow/scripts")}
    done = subprocess.run(
        [sys.executable, *command.split()[1:]], env=environment, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout == "5 comparisons: see comparison/comparison.html\n"
    text = Path("comparison/comparison.html").read_text()
    page = Page(text)
    assert {"runs", "scores", "worst_cases", "parameters"} <= set(page.ids)
    assert all(address.startswith("#") for address in page.addresses)
    assert "seed1: 0 of 3 differ significantly." in "".join(page.words)
    for name in ("scores", "worst_cases", "parameters"):
        assert f"`{name}`" in RUNNING
        assert tables.read(f"comparison/{name}.json")["lines"]
        assert Path(f"comparison/{name}.md").read_text().startswith("# ")
    with Path("comparison/parameters.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"parameter": "seed", "seed0": "0", "seed1": "1"}]


def test_the_same_runs_make_the_same_bytes(folders):
    for output in ("a", "b"):
        assert compare.main([*folders, "--output", output]) == 0
    for path in Path("a").iterdir():
        assert path.read_bytes() == (Path("b") / path.name).read_bytes()


def test_runs_without_the_table_of_robustness_have_a_page_without_worst_cases(folders):
    for folder in folders:
        Path(folder, "results/tables/table_robustness.csv").unlink()
    assert compare.main(folders) == 0
    assert "worst_cases" not in Page(Path("comparison/comparison.html").read_text()).ids
    assert not Path("comparison/worst_cases.csv").exists()


def test_names_of_folders_are_escaped(folders):
    evil = EVIL.replace("/", "")
    Path("seed1").rename(evil)
    assert compare.main(["seed0", evil]) == 0
    text = Path("comparison/comparison.html").read_text()
    assert "<script" not in text
    assert evil in "".join(Page(text).words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seed0"], "found 1 folder"),
        (["seed0", "seed2"], "seed2: no such folder"),
        (["seed0", "seed1", "--same", "none"], "--same: found 'none'"),
        (["seed0", "seed1", "--same", "none=nowhere"], "no folder has a model or a defence 'nowhe"),
        (["seed0", "seed1", "--output", "/proc/x"], "/proc/x: cannot be written (No such"),
        (["seed0", "seed1", "--output", "seed0/results/scores/original/m/none.h5"], "none.h5"),
    ],
)
def test_a_mistake_ends_with_a_sentence(arguments, message, folders, capsys):
    assert compare.main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert not Path("comparison").exists()


def test_a_report_records_the_versions_that_are_compared(folders):
    from advrob.report import page

    for folder, number in zip(folders, ("3.11.1", "3.11.2"), strict=True):
        page.write_data(f"{folder}/results/answer.json", {}, {"python": number})
    assert "torch" in json.loads(Path("seed0/results/answer.json").read_text())["versions"]
    assert compare.main(folders) == 0
    assert "| versions.python | 3.11.1 | 3.11.2 |" in Path("comparison/parameters.md").read_text()
