"""Interrupted work resumes, and gives what it would have given without the interruption."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from advrob.errors import UserError
from advrob.files.atomic import replacing
from advrob.files.checkpoints import load_checkpoint, resumed, save_checkpoint
from advrob.job import locks

SHAPE = (23, 4, 4, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)


class CutError(Exception):
    pass


def run(checkpoint, cut_at=None):
    calls = []

    def work(part):
        calls.append(part.start)
        if part.start == cut_at:
            raise CutError
        return IMAGES[part]

    images = resumed(work, SHAPE, batch_size=5, checkpoint=checkpoint)
    return np.array(images), calls


def test_work_resumes_where_it_was_interrupted(tmp_path):
    file = tmp_path / "checkpoint"
    for cut_at in (0, 5, 20):
        with pytest.raises(CutError):
            run(file, cut_at)
    images, calls = run(file)
    np.testing.assert_array_equal(images, IMAGES)
    assert calls == [20]


def test_a_batch_cut_while_it_was_written_is_done_again(tmp_path):
    file = tmp_path / "checkpoint"
    with pytest.raises(CutError):
        run(file, 15)
    file.write_bytes(file.read_bytes()[:-7])
    images, calls = run(file)
    np.testing.assert_array_equal(images, IMAGES)
    assert calls == [10, 15, 20]


def test_finished_work_is_not_repeated(tmp_path):
    run(tmp_path / "checkpoint")
    images, calls = run(tmp_path / "checkpoint")
    np.testing.assert_array_equal(images, IMAGES)
    assert calls == []


def test_a_checkpoint_belongs_to_its_parameters_and_inputs(tmp_path):
    data = tmp_path / "data"
    data.write_text("a")
    output = str(tmp_path / "out.h5")

    def name(params):
        with pytest.raises(CutError), locks.checkpoint(output, params, str(data)) as path:
            path.touch()
            raise CutError
        return path

    first = name({"a": 1})
    assert name({"a": 1}) == first
    assert name({"a": 2}) != first
    data.write_text("other")
    assert name({"a": 1}) != first
    with locks.checkpoint(output, {"a": 1}, str(data)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_checkpoint_with_a_flipped_bit_is_not_gone_on_from(tmp_path, capsys):
    path = tmp_path / "checkpoint"
    assert load_checkpoint(path) == {}
    content = {"a": torch.arange(500.0), "n": 3, "nested": {"text": "ü", "more": [torch.ones(2)]}}
    save_checkpoint(path, content)
    loaded = load_checkpoint(path)
    assert torch.equal(loaded["a"], content["a"])
    assert (loaded["n"], loaded["nested"]["text"]) == (3, "ü")
    good = path.read_bytes()
    assert capsys.readouterr().out == ""
    for position in range(0, len(good), 31):
        damaged = bytearray(good)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        assert load_checkpoint(path) == {}
    for length in (0, 1, 32, 33, len(good) - 1):
        path.write_bytes(good[:length])
        assert load_checkpoint(path) == {}
    assert "checkpoint: is damaged. Beginning anew.\n" in capsys.readouterr().out


@pytest.fixture(scope="module")
def killed(tmp_path_factory, tiny_weights):
    """What came of jobs that were killed several times, by their names; see killing.py."""
    folder = tmp_path_factory.mktemp("killed")
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join([str(tests), str(tests.parent / "workflow/scripts")])
    done = subprocess.run(
        [sys.executable, str(tests / "killing.py"), str(folder), str(tiny_weights)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "job_name",
    ["deepfool", "stochastic_gradient", "gradient", "autoencoder", "conv_autoencoder"],
)
def test_a_job_that_was_killed_several_times_gives_the_same_bytes(killed, job_name):
    history = killed[job_name]
    # Three were killed, one was stopped, and each time the work went on.
    assert history["killed"] == [signal.SIGKILL] * 3, history
    assert history["ended"] == [1]
    assert "was stopped (SIGTERM" in history["logs"][2]
    assert history["last"] == 0, history["logs"][-1]
    assert all("resuming" in log for log in history["logs"][1:]), history["logs"]
    assert any(name.endswith(".checkpoint") for name in history["left"])
    assert history["equal"]
    # Neither checkpoints nor locks nor halves of files.
    assert history["files"] == ["log", "output.h5"]


def hold(output, ready, end):
    with locks.checkpoint(output, {}):
        ready.set()
        end.wait()


@contextmanager
def holder(output):
    """A process that holds the checkpoint of an output, and the event that ends it."""
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    process = context.Process(target=hold, args=(output, ready, end))
    process.start()
    ready.wait()
    yield process, end
    process.join()


def test_two_jobs_do_not_share_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0)
    output = str(tmp_path / "out.h5")
    with holder(output) as (first, _):
        message = f"process {first.pid} on .* is still making this file"
        with pytest.raises(UserError, match=message):
            locks.checkpoint(output, {}).__enter__()
        # A lock ends with its process.
        first.kill()
    with locks.checkpoint(output, {}):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_second_job_waits_for_the_first_to_end(tmp_path):
    output = str(tmp_path / "out.h5")
    with holder(output) as (_, end):
        threading.Timer(0.5, end.set).start()
        with locks.checkpoint(output, {}):
            assert end.is_set()
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    """Each has a name of its own; of those that were killed, nothing is left."""
    path = tmp_path / "out"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    orphan = tmp_path / f".out.{os.uname().nodename}.{dead.pid}.tmp"
    living = tmp_path / f".out.{os.uname().nodename}.{os.getppid()}.tmp"
    foreign = tmp_path / ".out.elsewhere.1.tmp"
    for file in (living, foreign):
        file.write_text("half")
    # Also of one that wrote a folder.
    orphan.mkdir()
    (orphan / "part").touch()
    with replacing(path) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        [living.name, foreign.name, "out"]
    )
