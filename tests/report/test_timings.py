"""Machines, devices and times come from the records in logs, not from their prose."""

import json
from dataclasses import asdict

import pytest

from advrob.plan.names import Network
from advrob.report import timings
from reported import RECORD

LOGS = {"score": [{"folder": "logs/scores", "regex": r"logs/scores/(?P<n>.+)\.log$"}]}


def write_log(folder, name, before="", after="", **changes):
    path = folder / f"logs/scores/{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(asdict(RECORD) | changes)
    path.write_text(f"{before}\n{line}\n{after}\n")
    return path


def test_records_are_summed_and_counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path, "a/b", before="on another machine, threads: 1")
    write_log(tmp_path, "c", seconds=2.5, memory=300_000_000, device="cuda (X)", after="done")
    write_log(tmp_path, "d", device=None, precision=None)
    jobs = timings.read(LOGS)
    assert jobs.timings == [timings.Timing("score", 3, 5.5, 300.0)]
    assert jobs.machines == {RECORD.machine: 3}
    assert jobs.devices == {"cpu (2 threads), float32": 1, "cuda (X), float32": 1}


def test_jobs_that_made_nothing_count_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path, "failed", succeeded=False)
    (tmp_path / "logs/scores/killed.log").write_text("on a machine, threads: 1\n")
    (tmp_path / "logs/scores/other.txt").write_text(json.dumps(asdict(RECORD)))
    assert timings.read(LOGS | {"none": [{"folder": "nowhere", "regex": "x"}]}) == timings.Jobs(
        [], {}, {}, []
    )


def test_the_longest_rule_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path, "a")
    write_log(tmp_path, "b", seconds=9)
    logs = {name: [{"folder": "logs", "regex": rf"logs/scores/{name}\.log$"}] for name in "ab"}
    assert [timing.rule for timing in timings.read(logs).timings] == ["b", "a"]


def test_certificates_have_a_time_per_image(tmp_path, monkeypatch):
    """Of each network, unless the last attempt resumed and so did only part of the work."""
    monkeypatch.chdir(tmp_path)
    for name, changes in {
        "original/m": {"seconds": 10.0, "images": 5},
        "original/m/dncnn": {"seconds": 60.0, "images": 4},
        "original/m/cut": {"seconds": 1.0, "images": 4, "resumed": True},
        "original/m/old": {},
    }.items():
        write_log(tmp_path, f"certified/{name}", **changes)
    folder = "logs/scores/certified"
    group = {name: f"(?P<{name}>[a-z]+)" for name in ("dataset", "model", "defence")}
    model = f"{folder}/{group['dataset']}/{group['model']}"
    logs = {
        "certify_model": [{"folder": folder, "regex": rf"{model}\.log$"}],
        "advrob_certify": [{"folder": folder, "regex": rf"{model}/{group['defence']}\.log$"}],
        "score": [{"folder": folder, "regex": rf"{model}\.log$"}],
    }
    assert timings.read(logs).certifying == [
        timings.Certifying("original", Network("m", "dncnn"), 4, 15.0),
        timings.Certifying("original", Network("m", "none"), 5, 2.0),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 01 s"), (7265, "2 h 01 min")],
)
def test_durations(seconds, text):
    assert timings.duration(seconds) == text
