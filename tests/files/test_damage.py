"""Damaged files: one sentence, or the content as it was, and never anything else."""

import errno
import fcntl
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, seed
from hypothesis import strategies as st

from advrob.errors import UserError
from advrob.files import seal, store
from advrob.files.rows import ImageRows
from fuzzing import DAMAGES, damaged, fuzzed, memory_limited, time_limited

IDS = [f"photograph {i}" for i in range(20)]
LEVELS = np.random.default_rng(0).integers(0, 256, (20, 160, 160, 3), dtype=np.uint8)


def write_scores(path):
    arrays = {
        "predicted": np.arange(20),
        "correct": np.zeros(20, bool),
        "confidence": np.ones(20, np.float32),
        "draws": np.zeros((1, 20), bool),
        "ids": IDS,
    }
    with store.write(path, "scores/1", seed=0, params={"model": "m"}, source="x") as file:
        store.put(file, arrays)
    return path


def write_images(path, levels=LEVELS):
    arrays = {"images": levels, "labels": np.arange(len(levels)), "ids": IDS, "classes": ["a"]}
    with store.write(path, "images/1", seed=0, params={}, source="x") as file:
        store.put(file, arrays)
    return path


def content(path):
    """All that a file holds, as bytes."""
    with store.read(path, None) as file:
        parts = [repr(dict(file.attrs)).encode()]
        for name, dataset in file.items():
            is_text = h5py.check_string_dtype(dataset.dtype)
            parts += [name.encode(), dataset.asstr()[:] if is_text else dataset[:]]
        return b"".join(
            part if isinstance(part, bytes) else repr(part.tolist()).encode() for part in parts
        )


def refusal(path):
    """What is said of a file; None if it is read."""
    try:
        content(path)
    except UserError as error:
        return str(error)
    return None


def changed(path, position):
    """Flip one bit, wherever it is."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 4]))


def test_a_flipped_bit_anywhere_is_noticed(tmp_path):
    path = write_scores(tmp_path / "s.h5")
    good = path.read_bytes()
    assert refusal(path) is None
    for position in range(0, len(good), 11):
        changed(path, position)
        assert (said := refusal(path)) is not None, position
        assert said.startswith(f"{path}: "), said
        assert said.endswith("Delete it and run Snakemake again."), said
        path.write_bytes(good)


def test_a_flipped_bit_in_a_large_array_is_noticed_where_it_is_read(tmp_path):
    path = write_images(tmp_path / "s.h5")
    with h5py.File(path) as file:
        chunk = file["images"].id.get_chunk_info(7)
    changed(path, chunk.byte_offset + 1000)
    with store.read(path, "images/1") as file:
        np.testing.assert_array_equal(file["images"][8:], LEVELS[8:])
    with (
        pytest.raises(UserError, match=r"s\.h5: is damaged: dataset 'images' .* Delete it"),
        store.read(path, "images/1") as file,
    ):
        ImageRows(file["images"], np.arange(20)[::-1])[3:15]


def test_a_damaged_file_is_blamed_and_not_its_neighbour(tmp_path):
    good, bad = write_images(tmp_path / "good.h5"), write_images(tmp_path / "bad.h5")
    with h5py.File(bad) as file:
        changed(bad, file["images"].id.get_chunk_info(3).byte_offset)
    with (
        pytest.raises(UserError, match=r"bad\.h5: is damaged: dataset 'images'"),
        store.join(tmp_path / "whole.h5", [good, bad]),
    ):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.h5", "good.h5"]
    with (
        pytest.raises(OSError, match="something else"),
        store.read(good, "images/1"),
    ):
        raise OSError("something else")


def test_every_byte_is_under_the_digest_or_under_a_checksum(tmp_path):
    """The stretch that the digest leaves out is made of whole chunks."""
    path = write_images(tmp_path / "s.h5")
    with h5py.File(path) as file:
        images = file["images"].id
        chunks = [images.get_chunk_info(i) for i in range(images.get_num_chunks())]
        start, end = seal.longest_stretch(file)
    covered = [c for c in chunks if start <= c.byte_offset and c.byte_offset + c.size <= end]
    assert sum(chunk.size for chunk in covered) == end - start
    assert end - start > 0.9 * LEVELS.nbytes
    for position in (start - 1, start, start + 1, end - 1, end):
        changed(path, position)
        assert refusal(path) is not None
        changed(path, position)
    assert refusal(path) is None


@pytest.mark.parametrize("write", [write_scores, write_images])
def test_eight_damaged_bytes_are_a_sentence_or_nothing(tmp_path, write):
    path = write(tmp_path / "s.h5")
    good, expected = path.read_bytes(), content(path)
    draw = np.random.default_rng(0)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    said = 0
    for _ in range(300 if write is write_scores else 30):
        damaged = bytearray(good)
        for position in draw.integers(len(good), size=8):
            damaged[position] = draw.integers(256)
        path.write_bytes(damaged)
        try:
            assert content(path) == expected
        except UserError as error:
            assert str(error).startswith(f"{path}: ")
            said += 1
    assert said > 25
    assert time.monotonic() - started < 30
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 500_000, f"{grown} kB more memory"


@seed(1)
@fuzzed
@given(damages=DAMAGES, fraction=st.sampled_from([1.0, 1.0, 1.0, 0.99, 0.5, 0.0]))
def test_any_damage_is_a_sentence_or_nothing(tmp_path, damages, fraction):
    path = write_scores(tmp_path / "s.h5")
    good, expected = path.read_bytes(), content(path)
    bad = damaged(good, damages, fraction)
    path.write_bytes(bad)
    with memory_limited(), time_limited():
        said = refusal(path)
    assert said is None or said.startswith(f"{path}: ")
    if said is None:
        assert (bad, content(path)) == (good, expected)


def test_a_file_cut_anywhere_is_noticed(tmp_path):
    path = write_scores(tmp_path / "s.h5")
    good = path.read_bytes()
    for length in (0, 1, 8, 511, 512, 513, 1000, len(good) - 1):
        path.write_bytes(good[:length])
        assert refusal(path) is not None, length
    path.write_bytes(good + b"\0")
    assert refusal(path) is not None


def test_the_stretch_that_a_file_names_cannot_be_another(tmp_path):
    """Else one could leave out what is not verified."""
    path = write_scores(tmp_path / "s.h5")
    with path.open("r+b") as file:
        head = file.read(seal.SIZE)
        assert head.startswith(b"advrob: SHA-256 without bytes 0 to 0: ")
    good = path.read_bytes()
    for stretch in (b"1 to 9", b"0 to 99999", b"999999999999999999 to 0", b"512 to 512"):
        path.write_bytes(head.replace(b"0 to 0", stretch)[: seal.SIZE] + good[seal.SIZE :])
        assert refusal(path) is not None


@pytest.mark.parametrize("rows", [1, 7, 1000, 4999])
def test_checksums_do_not_depend_on_blocks(tmp_path, rows):
    """Rows that are shorter than a chunk, in blocks that end within chunks."""
    values = np.random.default_rng(1).normal(size=(5000, 100)).astype("float32")

    def save(name, array):
        with store.write(tmp_path / name, "state/1", seed=0, params={}, source="") as file:
            store.put(file, {"a": array, "z": np.arange(3)})
        return (tmp_path / name).read_bytes()

    blocks = (values[i : i + rows] for i in range(0, len(values), rows))
    assert save("a", store.StreamedArray(values.shape, "float32", blocks)) == save("b", values)
    with store.read(tmp_path / "a", "state/1") as file:
        assert file["a"].fletcher32
        np.testing.assert_array_equal(file["a"][:], values)


def test_an_array_that_was_made_smaller_is_checked(tmp_path):
    path = tmp_path / "s.h5"
    with store.write(path, "state/1", seed=0, params={}, source="") as file:
        dataset = store.create(file, "a", LEVELS.shape, "uint8", resizable=True)
        dataset[:13] = LEVELS[:13]
        dataset.resize(13, axis=0)
    with store.read(path, "state/1") as file:
        np.testing.assert_array_equal(file["a"][:], LEVELS[:13])
    with h5py.File(path) as file:
        changed(path, file["a"].id.get_chunk_info(12).byte_offset + 9)
    assert "dataset 'a'" in (refusal(path) or "")


# What is no damage


def test_a_named_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "s.h5")
    assert "no regular file" in (refusal(tmp_path / "s.h5") or "")


@contextmanager
def other_writer():
    """Without the rights of root, who may read everything."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        yield


def test_a_file_without_read_permission_is_not_called_damaged():
    with tempfile.TemporaryDirectory() as folder:
        path = write_scores(Path(folder) / "s.h5")
        for item, mode in ((path, 0o000), (path.parent, 0o600)):
            Path(folder).chmod(0o755)
            path.chmod(0o644)
            item.chmod(mode)
            with other_writer():
                said = refusal(path)
            assert said is not None
            assert "s.h5: cannot be read (Permission denied). That does not mean" in said
            assert "Delete" not in said
        Path(folder).chmod(0o755)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, 524])
def test_a_file_system_without_locks_is_read_and_written(tmp_path, number):
    """HDF5 locks files by flock, which fails there."""
    source = f"#include <errno.h>\nint flock(int f, int o) {{ errno = {number}; return -1; }}"
    library = tmp_path / "nolock.so"
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    try:
        subprocess.run(command, input=source, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("no C compiler")
    code = """
import sys
from pathlib import Path
import h5py
from test_damage import content, write_scores
try:
    h5py.File(sys.argv[2], "w")
except OSError:
    print("no locks")
content(write_scores(Path(sys.argv[1])))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s.h5"), str(tmp_path / "other.h5")],
        env=os.environ
        | {"LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "no locks\n", "the library works"


def test_locks_that_the_environment_demands_are_not_called_damage(tmp_path, monkeypatch):
    """As HDF5_USE_FILE_LOCKING=TRUE does where there are none."""
    path = write_scores(tmp_path / "s.h5")

    def no_locks(*_, **__):
        raise OSError(errno.ENOLCK, "Unable to synchronously open file (unable to lock file)")

    monkeypatch.setattr(store.h5py, "File", no_locks)
    said = refusal(path)
    assert said is not None
    assert "cannot be locked" in said
    assert "Unset the environment variable HDF5_USE_FILE_LOCKING" in said
    assert "Delete" not in said


def test_a_file_that_is_being_written_is_not_called_damaged(tmp_path):
    path = write_scores(tmp_path / "s.h5")
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        said = refusal(path) or ""
    assert "another process is writing it. Wait" in said
    assert "Delete" not in said
    assert refusal(path) is None
