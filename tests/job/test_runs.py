"""Whose a lock is, and whether it may be removed."""

import dataclasses
import json
import os
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from advrob.job import runs

pytestmark = pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="Linux tells")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """This process, in a folder that is locked."""
    monkeypatch.chdir(tmp_path)
    Path(".snakemake/locks").mkdir(parents=True)
    for name in ("0.input.lock", "0.output.lock"):
        Path(".snakemake/locks", name).write_text("results/a.h5\n")
    run = runs.current(local=True)
    assert run
    return dataclasses.replace(run, identity="of a test")


def dead():
    """The number of a process that has ended."""
    return int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                              check=True, capture_output=True).stdout)  # fmt: skip


def recorded(run):
    path = Path(".snakemake/runs", f"{run.node}-{run.process}.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(run)))
    return path


def began(here, monkeypatch):
    """Whether the folder is locked after a run has begun."""
    monkeypatch.setattr(runs, "current", lambda: dataclasses.replace(here, local=False))
    runs.begin()
    return bool(list(Path(".snakemake/locks").iterdir()))


def test_a_run_that_lives_keeps_its_lock(here, monkeypatch, capsys):
    with subprocess.Popen(["sleep", "60"]) as process:
        started = runs._started(process.pid)
        assert started
        path = recorded(dataclasses.replace(here, process=process.pid, started=started))
        assert began(here, monkeypatch)
        assert path.exists()
        assert capsys.readouterr().err == ""
        process.kill()
    assert not began(here, monkeypatch)
    assert not path.exists()
    assert f"killed (process {process.pid})" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{}, {"boot": "before the power cut", "space": "another"}])
def test_the_lock_of_a_dead_run_is_removed_and_what_it_left_half(here, monkeypatch, change):
    recorded(dataclasses.replace(here, process=dead(), **change))
    output, other = Path("results/a.h5"), Path("results/b.h5")
    long = Path("results", "d" * 150, "e" * 150)
    marks = Path(".snakemake/incomplete")
    marks.mkdir()
    for path in (output, other, long):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for path in (output, long):
        name = urlsafe_b64encode(str(path).encode()).decode()
        *first, last = [name[i : i + 254] for i in range(0, len(name), 254)]
        mark = marks.joinpath(*(f"@{part}" for part in first), last)
        mark.parent.mkdir(exist_ok=True)
        mark.touch()
    assert not began(here, monkeypatch)
    assert [path.exists() for path in (output, other, long)] == [False, True, False]
    assert not [path for path in marks.rglob("*") if path.is_file()]


def test_a_number_that_is_used_again_is_another_process(here, monkeypatch):
    recorded(dataclasses.replace(here, process=os.getppid(), started="1"))
    assert not began(here, monkeypatch)


@pytest.mark.parametrize(
    "change",
    [
        {"node": "another"},
        {"identity": "another with this name"},
        {"space": "another container"},
        {"boot": "another", "identity": ""},
        {"local": False},
    ],
)
def test_what_may_be_at_work_elsewhere_keeps_its_lock(here, monkeypatch, capsys, change):
    if change.get("identity") == "":
        here = dataclasses.replace(here, identity="")
    path = recorded(dataclasses.replace(here, process=dead(), **change))
    assert began(here, monkeypatch)
    assert path.exists()
    assert "--unlock" in capsys.readouterr().err


def test_one_that_lives_beside_one_that_is_dead_keeps_both_locks(here, monkeypatch):
    recorded(dataclasses.replace(here, process=dead()))
    recorded(dataclasses.replace(here, process=os.getppid(), started=runs._started(os.getppid())))
    assert began(here, monkeypatch)


def test_a_lock_without_any_record_is_snakemakes_business(here, monkeypatch, capsys):
    assert began(here, monkeypatch)
    assert capsys.readouterr().err == ""


def test_a_run_that_ends_leaves_no_record(tmp_path):
    code = "from advrob.job import runs; runs.begin(); runs.start(local=True); "
    code += "from pathlib import Path; [file] = Path('.snakemake/runs').iterdir(); "
    code += "print(file.read_text())"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True
    )
    assert json.loads(said.stdout)["local"] is True
    assert not list((tmp_path / ".snakemake/runs").iterdir())
