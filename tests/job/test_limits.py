"""Too little disk and too little memory are said in time, in a sentence, and leave nothing half."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import defence
from advrob.errors import UserError
from advrob.files import store
from advrob.files.atomic import replacing
from advrob.files.rows import ImageRows
from advrob.job import script as job
from conftest import ROOT, a_job

# What is written on a disk of 1 MB. `blind` makes the free space unknown, as it is under a quota.
ON_A_FULL_DISK = """
import json, shutil, sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np, torch
from advrob.files import checkpoints as resuming, store
from advrob.errors import UserError
from advrob.job import disk, locks
from advrob.job import script as job

folder, blind = Path(sys.argv[1]), sys.argv[2] == "blind"
if blind:
    disk.shutil = SimpleNamespace(disk_usage=lambda path: SimpleNamespace(free=10**12))

def write(arrays):
    with store.write(folder / "a.h5", "state/1", seed=1, params={}, source="") as file:
        store.put(file, arrays)

def images():
    shape = (40, 100, 100, 3)
    (folder / "c").unlink(missing_ok=True)
    work = lambda part: np.ones((part.stop - part.start, *shape[1:]), np.uint8)
    resuming.resumed(work, shape, batch_size=8, checkpoint=folder / "c")

def fill():
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass

def lock():
    fill()
    try:
        locks.checkpoint(str(folder / "a.h5"), {}).__enter__()
    finally:
        (folder / "filler").unlink()

jobs = {
    "lock": lock,
    "large": lambda: write({"x": np.ones(4_000_000, np.uint8)}),
    "small": lambda: write({f"x{i}": np.ones(5000, np.uint8) for i in range(400)}),
    "checkpoint": lambda: resuming.save_checkpoint(folder / "b", {"x": torch.ones(1_000_000)}),
    "images": images,
}
said = {}
for name, work in jobs.items():
    try:
        work()
        said[name] = "written", []
    except UserError as error:
        left = sum(path.stat().st_size for path in folder.iterdir() if path.name != "c")
        said[name] = str(error), [path.name for path in folder.iterdir()], left
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory):
    """A function that gives what was said on a disk of 1 MB."""
    folder = tmp_path_factory.mktemp("disk")
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk")

    def said(mode):
        mount = f"mount -t tmpfs -o size=1m none {folder} && exec '{sys.executable}' - {folder} "
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", mount + mode],
            input=ON_A_FULL_DISK,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "workflow/scripts")},
        )
        # HDF5 crashes at the end of a process that could not close a file.
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return said


def test_what_does_not_fit_is_refused_before_it_is_begun(small_disk):
    said = small_disk("seeing")
    for name, size in (("large", "4 MB"), ("small", "2 MB"), ("images", "2.4 MB")):
        message, files, left = said[name]
        assert "the disk is full" in message
        assert f"needs {size}." in message
        assert "are free in" in message
        assert "--directory" in message
        assert left == 0, files


def test_a_disk_that_fills_up_is_said_and_leaves_no_half_file(small_disk):
    said = small_disk("blind")
    for name, file in (("large", "a.h5"), ("small", "a.h5"), ("checkpoint", "b"), ("images", "c")):
        message, files, left = said[name]
        assert f"/{file}: the disk is full." in message, name
        assert left == 0, files


def test_a_lock_on_a_full_disk_is_said_and_leaves_nothing(small_disk):
    message, files, left = small_disk("seeing")["lock"]
    assert "/a.h5: the disk is full. 0 bytes are free in" in message
    assert left == 0, files


A_LOG_ON_A_FULL_DISK = """
import sys
from pathlib import Path
sys.path.append(sys.argv[2])
from types import SimpleNamespace
from conftest import Named, NamedList
from advrob.job import script as job

folder = Path(sys.argv[1])
def main():
    for _ in range(1000):
        print("x" * 10_000)
snakemake = SimpleNamespace(
    wildcards=Named(), params=Named(), input=NamedList(), output=NamedList(), rule="score",
    resources=Named(mem_mb=1000), log=[str(folder / "log")], threads=1,
)
job.run(main)
"""


def test_a_log_on_a_full_disk_ends_its_job_with_a_sentence(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    command = f"mount -t tmpfs -o size=1m none {folder} && exec '{sys.executable}' - {folder} "
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command + str(ROOT / "tests")],
        input=A_LOG_ON_A_FULL_DISK,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "workflow/scripts")},
    )
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("this machine lets nobody mount a small disk")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {folder}/log: the disk is full. 0 bytes are free in")


def test_a_full_disk_of_somebody_elses_is_said(rule):
    def main():
        raise OSError(28, "No space left on device", "/tmp/torch")

    with pytest.raises(SystemExit):
        job.run(main)
    said = Path(rule.log[0]).read_text()
    assert "error: rule score: the disk is full ([Errno 28]" in said
    assert "/tmp/torch" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("said", ["", "on a machine\nworking\n", '{"machine": "a'])
def test_an_attempt_that_was_killed_is_told_by_the_next(rule, said, capfd):
    Path(rule.log[0]).write_text(said)
    job.run(lambda: "fine")
    log = Path(rule.log[0]).read_text()
    expected = "the system killed it (SIGKILL), as it does when memory runs out"
    for text in (log, capfd.readouterr().err):
        assert (expected in text) == bool(said)
        assert ("--set-resources score:mem_mb=2000" in text) == bool(said)
    # That one ended well.
    job.run(lambda: "fine")
    assert "killed" not in Path(rule.log[0]).read_text()


def test_an_attempt_that_failed_by_itself_was_not_killed(rule):
    def main():
        raise UserError("a: sentence.")

    with pytest.raises(SystemExit):
        job.run(main)
    job.run(lambda: "fine")
    assert "killed" not in Path(rule.log[0]).read_text()


def test_a_limit_on_the_size_of_files_is_said(tmp_path):
    with (
        pytest.raises(UserError, match="a limit on the size of files is reached"),
        replacing(tmp_path / "a") as temporary,
    ):
        temporary.write_text("half")
        raise OSError(27, "File too large")
    assert list(tmp_path.iterdir()) == []


def log_of_failure(rule, main, *, batch_size):
    """What a job whose ``main`` fails leaves in its log."""
    rule.params["batch_size"] = batch_size
    with pytest.raises(SystemExit):
        job.run(main)
    return Path(rule.log[0]).read_text()


@pytest.mark.parametrize(
    "allocate", [lambda: torch.empty(1 << 50), lambda: np.empty(1 << 50), lambda: [0] * (1 << 50)]
)
def test_too_little_memory_names_what_to_lower(rule, allocate):
    def main(*, batch_size):
        allocate()

    said = log_of_failure(rule, main, batch_size=32)
    assert "\nerror: rule score is out of memory" in said
    assert "may use 1000 MB" in said
    assert "Lower batch_size, which is 32" in said
    assert "--set-resources score:mem_mb=2000" in said
    assert "Traceback" not in said


def test_a_gpu_that_is_full_is_no_mistake_of_the_code(rule):
    def main(*, batch_size):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nIt has ...")

    said = log_of_failure(rule, main, batch_size=8)
    assert "out of memory (CUDA out of memory. Tried to allocate 2.00 GiB.)" in said
    assert "Lower batch_size, which is 8" in said


@pytest.fixture
def images(tmp_path):
    path = str(tmp_path / "images.h5")
    with store.write(path, "images/1", seed=0, params={}, source="") as file:
        n = 300
        levels = np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
        text = [str(i) for i in range(n)]
        arrays = {"images": levels, "labels": np.arange(n), "ids": text, "classes": text}
        store.put(file, arrays)
    return path


@pytest.mark.parametrize(
    ("name", "entry", "needed"),
    [
        ("pca", {}, "2.88 MB"),  # 32 bytes for each pair of 300 images
        ("autoencoder", {"hidden": 12, "epochs": 1}, "2.6 MB"),  # of 285
    ],
)
def test_memory_that_will_not_suffice_is_said_before_the_work_begins(
    images, name, entry, needed, tmp_path
):
    def fit(memory):
        defence.main(
            images=images,
            state=str(tmp_path / "state.h5"),
            defence=name,
            entry=entry,
            job=a_job(seed=0),
            checkpoint=tmp_path / "checkpoint",
            memory=memory,
        )

    with pytest.raises(UserError) as error:
        fit(10**6)
    assert f"defences.{name}: fitting it to 300 images needs {needed}" in str(error.value)
    assert "may use 1 MB" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["images.h5"]
    fit(10**9)


def test_a_job_may_use_what_its_rule_asks_for(rule):
    seen = []
    job.run(lambda *, memory: seen.append(memory))
    rule.resources["mem_mb"] = 10**9
    job.run(lambda *, memory: seen.append(memory))
    assert seen[0] == 10**9
    assert seen[1] == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_rows_are_those_of_the_whole(tmp_path):
    import h5py

    levels = np.random.default_rng(1).integers(0, 256, (50, 3, 3, 3), dtype=np.uint8)
    numbers = np.random.default_rng(2).permutation(50)[:40]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for stored in (levels, file.create_dataset("x", data=levels, chunks=(1, 3, 3, 3))):
            rows = ImageRows(stored, numbers)
            assert (len(rows), rows.shape, rows.size) == (40, (40, 3, 3, 3), 40 * 27)
            for selection in (slice(None), slice(7, 20), slice(9, 9), np.array([3, 1, 1, 39])):
                np.testing.assert_array_equal(rows[selection], levels[numbers][selection])
            nested = ImageRows(rows, np.arange(5, 15))
            np.testing.assert_array_equal(nested[2:6], levels[numbers][7:11])
