import errno
import time

import h5py
import numpy as np
import pytest

from advrob.errors import UserError
from advrob.files import provenance, schemas, store
from advrob.files.atomic import replacing, replacing_folder


def write(path, schema="scores/1", **changes):
    arrays = {
        "predicted": np.arange(3),
        "correct": np.array([True, False, True]),
        "confidence": np.ones(3, np.float32),
        "draws": np.ones((1, 3), bool),
        "ids": ["a", "b", "ü"],
    } | changes
    with store.write(path, schema, seed=1, params={"b": 1, "a": [2]}, source="somewhere") as file:
        store.put(file, arrays)


def test_what_is_written_is_read(tmp_path):
    write(tmp_path / "s.h5")
    with store.read(tmp_path / "s.h5", "scores/1") as file:
        assert store.strings(file["ids"]) == ["a", "b", "ü"]
        assert file["correct"][:].tolist() == [True, False, True]
        assert provenance.params(file) == {"a": [2], "b": 1}
        assert (file.attrs["seed"], file.attrs["source"]) == (1, "somewhere")


def test_equal_content_is_equal_bytes(tmp_path):
    write(tmp_path / "a.h5")
    time.sleep(1.1)  # time stamps in HDF5 have seconds
    write(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_blocks_equal_the_whole_array(tmp_path):
    whole = np.random.default_rng(0).normal(size=(10, 4)).astype("float32")
    blocks = store.StreamedArray((10, 4), "float32", iter([whole[:3], whole[3:9], whole[9:]]))
    with store.write(tmp_path / "s.h5", "state/1", seed=0, params={}, source="") as file:
        store.put(file, {"a": blocks})
    with store.read(tmp_path / "s.h5", "state/1") as file:
        np.testing.assert_array_equal(file["a"][:], whole)


def test_a_missing_block_is_noticed(tmp_path):
    blocks = store.StreamedArray((4, 2), "float32", iter([np.zeros((3, 2), "float32")]))
    with (
        pytest.raises(ValueError, match="3 rows were produced, 4 promised"),
        store.write(tmp_path / "s.h5", "state/1", seed=0, params={}, source="") as file,
    ):
        store.put(file, {"a": blocks})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write(tmp_path / "s.h5")
    before = (tmp_path / "s.h5").read_bytes()
    with pytest.raises(UserError, match="'predicted' is float64"):
        write(tmp_path / "s.h5", predicted=np.zeros(3))
    assert (tmp_path / "s.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]


def test_lengths_must_agree(tmp_path):
    with pytest.raises(UserError, match=r"'correct' is bool \(2,\).*expects bool \(n=3\)"):
        write(tmp_path / "s.h5", correct=np.array([True, False]))


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(UserError, match="the disk is full"),
        replacing(tmp_path / "a") as temporary,
    ):
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "folder"
    for text in ("old", "new"):
        with replacing_folder(folder) as temporary:
            (temporary / "part").mkdir()
            (temporary / "part" / text).write_text(text)
        assert [path.name for path in (folder / "part").iterdir()] == [text]
    with (
        pytest.raises(UserError, match="the disk is full"),
        replacing_folder(folder) as temporary,
    ):
        (temporary / "half").touch()
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (folder / "part" / "new").read_text() == "new"


def test_a_missing_file_names_the_command_that_makes_it(tmp_path):
    for name, remedy in (
        ("none.h5", "Correct the path"),
        ("results/a/b.h5", rf"snakemake --cores 1 results/a/b\.h5 --directory {tmp_path}$"),
    ):
        with (
            pytest.raises(UserError, match=remedy),
            store.read(tmp_path / name, "scores/1"),
        ):
            pass


def test_other_images_are_named():
    for others, message in (
        (["a"], "the first has 2, the second 1"),
        (["a", "c"], "image 1, .* is b in the first and c"),
    ):
        with pytest.raises(UserError, match=rf"x\.h5: contains other images than y\.h5; {message}"):
            store.check_ids("x.h5", ["a", "b"], "y.h5", others)


def test_a_truncated_file_is_named(tmp_path):
    write(tmp_path / "s.h5")
    whole = (tmp_path / "s.h5").read_bytes()
    (tmp_path / "s.h5").write_bytes(whole[: len(whole) // 2])
    with (
        pytest.raises(UserError, match=r"s\.h5: is damaged: its content does not match"),
        store.read(tmp_path / "s.h5", "scores/1"),
    ):
        pass


def test_another_schema_is_refused(tmp_path):
    write(tmp_path / "s.h5")
    with (
        pytest.raises(UserError, match="is of schema scores/1, expected images/1"),
        store.read(tmp_path / "s.h5", "images/1"),
    ):
        pass


@pytest.mark.parametrize(
    ("without", "message"),
    [("seed", "has no attribute 'seed'"), ("correct", "has no dataset 'correct', which schema")],
)
def test_a_file_that_lacks_something_is_refused(tmp_path, without, message):
    write(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        del (file.attrs if without == "seed" else file)[without]
        with pytest.raises(UserError, match=rf"s\.h5: {message}"):
            schemas.check(file, "scores/1", "s.h5")


def test_a_foreign_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["predicted"] = np.arange(3)
    with (
        pytest.raises(
            UserError, match=r"does not begin with a digest of its content.*made by another program"
        ),
        store.read(tmp_path / "s.h5", "scores/1"),
    ):
        pass
