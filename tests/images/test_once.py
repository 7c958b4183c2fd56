"""One photograph is counted once, however it is named, stored or encoded."""

import io
import shutil
import tarfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from advrob.errors import UserError
from advrob.files import store
from advrob.images import extract, subset
from advrob.images.duplicates import appearance
from photographs import draw, encoded, noise, photograph, two_splits

CLASSES = ["n01440764", "n02102040"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return two_splits(tmp_path / "tree", CLASSES)


def tarred(tree: Path, path: Path, *more: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for file in sorted(tree.rglob("*.JPEG")):
            tar.add(file, file.relative_to(tree))
        for name, data in more:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("files", "entries"),
    [(["data/imagenet_*.jpg", "data/imagenet_0*.jpg"], 1), (["data/imagenet_*.jpg"], 2)],
)
def test_overlapping_patterns(tmp_path: Path, files: list[str], entries: int) -> None:
    if find_spec("foolbox") is None:
        pytest.skip("foolbox is not installed")
    entry = {"package": "foolbox", "files": files, "label": r"_(\d+)\.jpg$"}
    test = {"packages": [entry] * entries}
    drawn = draw(None, tmp_path, layout="packages", test=test, fit={})
    assert len(drawn["test"]) == len(set(drawn["test"])) == 20


def test_two_labels_of_one_file_are_refused(tmp_path: Path) -> None:
    entry = {"package": "foolbox", "files": ["data/imagenet_*.jpg"], "label": r"_(\d+)\.jpg$"}
    with pytest.raises(UserError, match=r"gets the label \d+ in one entry .* and \d+ in another"):
        draw(
            None,
            tmp_path,
            layout="packages",
            test={"packages": [entry, {**entry, "label": r"_(\d\d)_"}]},
            fit={},
        )


@pytest.mark.parametrize("splits", [["val", "val"], ["val", "./val"], ["val/"]])
def test_a_split_named_twice(tree: Path, tmp_path: Path, splits: list[str]) -> None:
    once = draw(tree, tmp_path)
    assert draw(tree, tmp_path, test={"splits": splits}) == once
    assert len(once["test"]) == 4


def test_an_updated_member_of_an_archive_replaces_the_old_one(tree: Path, tmp_path: Path) -> None:
    name = f"val/{CLASSES[0]}/0.JPEG"
    archive = tarred(tree, tmp_path / "a.tar", (name, photograph(99)))
    expected = draw(tree, tmp_path)
    assert draw(archive, tmp_path)["test"] == expected["test"]
    with store.read(tmp_path / "test.h5", "images/1") as file:
        newer = file["images"][expected["test"].index(name)]
    (tree / name).write_bytes(photograph(99))
    draw(tree, tmp_path)
    with store.read(tmp_path / "test.h5", "images/1") as file:
        np.testing.assert_array_equal(newer, file["images"][expected["test"].index(name)])


@pytest.mark.parametrize("prefix", ["./", "old/", "./x/../"])
def test_two_prefixes(tree: Path, tmp_path: Path, prefix: str) -> None:
    name = f"val/{CLASSES[0]}/0.JPEG"
    archive = tarred(tree, tmp_path / "a.tar", (prefix + name, (tree / name).read_bytes()))
    assert draw(archive, tmp_path)["test"] == draw(tree, tmp_path)["test"]


def test_names_of_one_file_in_a_table(tree: Path, tmp_path: Path) -> None:
    folder = tree / "val" / CLASSES[0]
    (folder / "t.csv").write_text("file,label\n0.JPEG,0\n./0.JPEG,tench\n1.JPEG,0\n")
    table = {"layout": "table", "test": {"table": "t.csv", "total": 1}, "fit": {}}
    drawn = draw(folder, tmp_path, **table)
    assert sorted(drawn["test"] + drawn["fit"]) == ["0.JPEG", "1.JPEG"]


def test_the_same_bytes_within_the_test_set(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tree / "val" / CLASSES[0] / "0.JPEG"
    shutil.copy(source, source.with_name("copy.JPEG"))
    shutil.copy(source, tree / "val" / CLASSES[1] / "elsewhere.JPEG")
    drawn = draw(tree, tmp_path)
    assert len(drawn["test"]) == 4
    assert "2 duplicates dropped" in drawn["summary"][0]
    log = capsys.readouterr().out
    assert "2 duplicates are left out, such as val/" in log
    assert "1 of them have another label than the photograph that is kept" in log


@pytest.mark.parametrize(
    "copy",
    [
        lambda image: encoded(image, quality=40),
        lambda image: encoded(image, "PNG"),
        lambda image: encoded(image.resize((120, 100)), "WEBP"),
        lambda image: encoded(image.resize((48, 40))),
    ],
    ids=["quality", "format", "enlarged", "reduced"],
)
def test_copies_that_were_encoded_anew(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], copy: Any
) -> None:
    (tree / "train" / CLASSES[1] / "copy.JPEG").write_bytes(copy(noise(4)))
    drawn = draw(tree, tmp_path)
    assert len(drawn["fit"]) == 4
    assert not any("copy" in name for name in drawn["fit"])
    assert drawn["summary"][0].endswith("0 duplicates dropped, 1 copies left out")
    log = capsys.readouterr().out
    assert f"train/{CLASSES[1]}/copy.JPEG, which looks like val/{CLASSES[0]}/0.JPEG" in log


OPTIONS: dict[str, Any] = {
    "size": 16,
    "layout": "tree",
    "broken": "error",
    "test": {"splits": ["val"]},
    "fit": {"splits": ["train"]},
}


@pytest.mark.parametrize("shard", ["1-of-1", "2-of-2"])
def test_copies_within_the_test_set_are_reported(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], shard: str
) -> None:
    (tree / "val" / CLASSES[0] / "copy.PNG").write_bytes(encoded(noise(4), "PNG"))
    paths = {part: tmp_path / f"{part}.h5" for part in ("test", "fit")}
    summary = extract(**paths, root=str(tree), image_options=OPTIONS, seed=1, shard=shard)
    assert summary.endswith("0 duplicates dropped, 1 test photographs look like others")
    log = capsys.readouterr().out
    assert "warning: 1 photographs to test look like others to test, such as val/" in log
    assert "copy.PNG" in log


def test_shards_find_the_same_copies(tree: Path, tmp_path: Path) -> None:
    (tree / "train" / CLASSES[1] / "copy.JPEG").write_bytes(encoded(noise(4), quality=40))
    whole = draw(tree, tmp_path)
    ids = []
    for number in (1, 2):
        paths = {part: tmp_path / f"{part}-{number}.h5" for part in ("test", "fit")}
        extract(**paths, root=str(tree), image_options=OPTIONS, seed=1, shard=f"{number}-of-2")
        with store.read(paths["fit"], "images/1") as file:
            ids += store.strings(file["ids"])
    assert ids == whole["fit"]


def test_different_photographs_look_different(shared: Path) -> None:
    paths = sorted((shared / "data/imagenette/val").glob("*/*.JPEG"))[::20]
    hashes = np.stack([appearance(Image.open(path).convert("RGB")) for path in paths])
    different = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2)
    assert len(paths) > 150
    assert different[np.triu_indices(len(paths), 1)].min() > 60


def test_pictures_with_nothing_in_them_are_no_copies(tree: Path, tmp_path: Path) -> None:
    for split, colour in (("val", "red"), ("train", "blue")):
        data = encoded(Image.new("RGB", (50, 40), colour))
        (tree / split / CLASSES[0] / "plain.JPEG").write_bytes(data)
    drawn = draw(tree, tmp_path)
    assert (len(drawn["test"]), len(drawn["fit"])) == (5, 5)


def test_photographs_that_do_not_fit_in_memory_are_no_broken_ones() -> None:
    said = r"do not fit in memory \(many\)\. Give the job more"
    with pytest.raises(UserError, match=said), subset._readable_errors():
        raise MemoryError("many")
