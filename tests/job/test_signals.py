"""Signals end a job with a sentence and leave nothing half."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ROOT

JOB = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from conftest import Named, NamedList
from advrob.files.atomic import replacing
from advrob.job import script as job

folder = Path(sys.argv[1])
def main(*, scores):
    with replacing(scores) as temporary:
        temporary.write_text("half")
        (folder / "ready").touch()
        while not (folder / "end").exists():
            time.sleep(0.01)
    return "whole"
snakemake = SimpleNamespace(
    wildcards=Named(), params=Named(), input=NamedList(), rule="score", threads=1,
    output=NamedList(scores=str(folder / "out")), resources=Named(), log=[str(folder / "log")],
)
job.run(main)
"""

# As Snakemake does it: its object is there before the script's first line.
STARTING = """
import sys
from pathlib import Path
from types import SimpleNamespace

folder = Path(sys.argv[1])
snakemake = SimpleNamespace(rule="score", log=[str(folder / "log")])
from advrob.errors import UserError
(folder / "ready").touch()
import time
time.sleep(60)  # as an import may take
"""


def started(folder, ignored=(), job=JOB):
    def ignore():
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", job, str(folder)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT / "workflow/scripts", ROOT / "tests")))},
        preexec_fn=ignore,
    )
    for _ in range(1000):
        if (folder / "ready").exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    return process


def left(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGTERM, "SIGTERM: cancelled"),
        (signal.SIGINT, "SIGINT: Ctrl-C"),
        (signal.SIGHUP, "SIGHUP: its terminal was closed"),
    ],
)
def test_a_signal_ends_a_job_with_a_sentence(tmp_path, number, reason):
    process = started(tmp_path)
    # Snakemake and a terminal may both send one.
    process.send_signal(number)
    time.sleep(0.1)
    for other in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(other)
    out, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert out == ""
    (line,) = errors.splitlines()
    assert line.startswith(f"error: rule score was stopped ({reason}")
    assert line.endswith("resumes from it.")
    assert Path(tmp_path / "log").read_text().splitlines()[-1] == line
    assert left(tmp_path) == ["log", "ready"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_job_that_still_imports_ends_with_a_sentence(tmp_path, number):
    process = started(tmp_path, job=STARTING)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors.startswith(f"error: rule score was stopped ({number.name}: ")
    assert errors.endswith(") while it started. Run the same command again.\n")
    assert (tmp_path / "log").read_text() == errors


def test_a_terminal_that_is_gone_is_no_other_error(tmp_path):
    process = started(tmp_path)
    process.stderr.close()
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=20) == 1
    assert "SIGHUP" in (tmp_path / "log").read_text().splitlines()[-1]
    assert left(tmp_path) == ["log", "ready"]


def test_a_job_that_was_started_to_ignore_a_signal_ignores_it(tmp_path):
    process = started(tmp_path, ignored=[signal.SIGHUP])
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    (tmp_path / "end").touch()
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert (tmp_path / "out").read_text() == "half"
