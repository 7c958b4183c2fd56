"""Drawing and decoding, on real photographs laid out in every supported way."""

import hashlib
import io
import os
import shutil
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torchvision import transforms

import download
import images as images_script
from advrob.errors import UserError
from advrob.files import provenance, store
from advrob.images import extract, labels, load
from advrob.images.decode import centre_crop, decode, random_crop
from advrob.job.compute import generator

SIZE = 32
CLASSES = ["n01440764", "n02102040", "n03888257"]
PER_CLASS = {"train": 4, "val": 3}


def package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"package {name} with sample photographs is not installed")
    return Path(spec.submodule_search_locations[0])


@pytest.fixture(scope="session")
def photographs() -> list[Image.Image]:
    """21 different photographs of different shapes."""
    paths = sorted((package("foolbox") / "data").glob("imagenet_*.jpg"))
    paths += sorted((package("sklearn") / "datasets/images").glob("*.jpg"))
    opened = [
        Image.open(path).convert("RGB").resize((120, 90 + 3 * i)) for i, path in enumerate(paths)
    ]
    assert len(opened) >= 21
    return opened


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, photographs: list[Image.Image]) -> Path:
    """A tree of three classes, two splits and files that are not images."""
    root = tmp_path_factory.mktemp("original") / "tree"
    supply = iter(photographs)
    for split, count in PER_CLASS.items():
        for wordnet_id in CLASSES:
            folder = root / split / wordnet_id
            folder.mkdir(parents=True)
            for i in range(count):
                seen = "ILSVRC2012_val" if i == 0 else wordnet_id
                next(supply).save(folder / f"{seen}_{i}.JPEG", format="JPEG")
            (folder / "notes.txt").write_text("no image")
            (folder / "._hidden.JPEG").write_text("no image")
    (root / ".git").mkdir()
    (root / "list.csv").write_text("no image")
    return root


@pytest.fixture
def tree(original: Path, tmp_path: Path) -> Path:
    """A tree that a test may damage."""
    return Path(shutil.copytree(original, tmp_path / "tree"))


def image_options(**changes: Any) -> dict[str, Any]:
    return {
        "size": SIZE,
        "layout": "tree",
        "broken": "error",
        "test": {"splits": ["val"]},
        "fit": {"splits": ["train"]},
    } | changes


def make(
    folder: Path, root: Path | None, seed: int = 1, **changes: Any
) -> dict[str, dict[str, Any]]:
    """Extract, and read both files back."""
    paths = {part: folder / "made" / f"{part}.h5" for part in ("test", "fit")}
    text = None if root is None else str(root)
    summary = extract(**paths, root=text, image_options=image_options(**changes), seed=seed)
    parts: dict[str, dict[str, Any]] = {}
    for part, path in paths.items():
        with store.read(path, "images/1") as file:
            parts[part] = {
                "images": file["images"][:],
                "labels": file["labels"][:].tolist(),
                "ids": store.strings(file["ids"]),
                "classes": store.strings(file["classes"]),
                "params": provenance.params(file),
                "source": file.attrs["source"],
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "summary": summary,
            }
    return parts


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


# Decoding


def test_photographs_in_memory_are_those_of_the_test_file(original: Path, tmp_path: Path) -> None:
    stored = make(tmp_path, original, seed=5, test={"splits": ["val"], "per_class": 2})["test"]
    images, classes, ids = load("tree", str(original), size=SIZE, seed=5, per_class=2)
    np.testing.assert_array_equal(images, stored["images"])
    assert (classes.tolist(), ids) == (stored["labels"], stored["ids"])


@pytest.mark.parametrize("shape", [(500, 375), (375, 500), (301, 299), (90, 400), (64, 57)])
@pytest.mark.parametrize(("size", "resized"), [(224, 256), (299, 342)])
def test_centre_crop_is_the_standard_one(
    photographs: list[Image.Image], shape: tuple[int, int], size: int, resized: int
) -> None:
    image = photographs[0].resize(shape)
    standard = transforms.Compose([transforms.Resize(resized), transforms.CenterCrop(size)])
    np.testing.assert_array_equal(centre_crop(image, size), np.asarray(standard(image)))


def test_an_image_of_the_right_size_is_kept(photographs: list[Image.Image]) -> None:
    image = photographs[0].resize((224, 224))
    np.testing.assert_array_equal(centre_crop(image, 224), np.asarray(image))


def test_exif_orientation(photographs: list[Image.Image]) -> None:
    upright = photographs[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show the stored rows as columns
    data = encoded(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    np.testing.assert_array_equal(np.asarray(decode(data, "x")), np.asarray(upright))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_costs_nothing(photographs: list[Image.Image]) -> None:
    data = encoded(photographs[0], "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    plain = decode(encoded(photographs[0], "JPEG"), "x")
    np.testing.assert_array_equal(np.asarray(decode(data, "x")), np.asarray(plain))


def test_grey_of_8_and_16_bits(photographs: list[Image.Image]) -> None:
    grey = photographs[0].convert("L")
    expected = np.repeat(np.asarray(grey)[..., None], 3, axis=2)
    np.testing.assert_array_equal(np.asarray(decode(encoded(grey, "PNG"), "x")), expected)
    levels = np.asarray(grey).astype(np.uint16) * 257 + 100  # rounds back to the same level
    levels = np.where(np.asarray(grey) == 255, 65535, levels).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        deep = encoded(Image.fromarray(levels), kind)
        np.testing.assert_array_equal(np.asarray(decode(deep, "x")), expected)


def test_transparent_pixels_are_white() -> None:
    rgba = Image.new("RGBA", (8, 8), (200, 0, 0, 255))
    rgba.paste((0, 0, 0, 0), (0, 0, 4, 8))
    rgba.paste((0, 0, 0, 51), (0, 0, 1, 8))  # a fifth of black over white
    array = np.asarray(decode(encoded(rgba, "PNG"), "x"))
    assert array[0, 0].tolist() == [204] * 3
    assert array[0, 2].tolist() == [255] * 3
    assert array[0, 6].tolist() == [200, 0, 0]
    palette = rgba.convert("P")
    palette.putpalette([200, 0, 0, 0, 0, 9], "RGB")
    palette.putdata([0, 1] * 32)
    array = np.asarray(decode(encoded(palette, "PNG", transparency=1), "x"))
    assert array[0, :2].tolist() == [[200, 0, 0], [255, 255, 255]]
    grey = Image.merge("LA", (Image.new("L", (8, 8), 9), Image.new("L", (8, 8), 0)))
    assert np.asarray(decode(encoded(grey, "PNG"), "x")).min() == 255


def test_cmyk(photographs: list[Image.Image]) -> None:
    image = photographs[0]
    array = np.asarray(decode(encoded(image.convert("CMYK"), "JPEG", quality=100), "x"))
    assert np.abs(array.astype(int) - np.asarray(image)).mean() < 3


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.asarray(decode(data, "x"))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_every_format(photographs: list[Image.Image], kind: str) -> None:
    image = decode(encoded(photographs[0], kind), "x")
    difference = np.asarray(image).astype(int) - np.asarray(photographs[0])
    assert image.mode == "RGB"
    assert np.abs(difference).mean() < 12


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda image: b"", r"the file is empty; 0 bytes"),
        (lambda image: b"<html>not found</html>", r"it is not an image; 22 bytes"),
        (lambda image: encoded(image, "JPEG")[:1500], r"truncated.*; 1500 bytes"),
        (lambda image: encoded(image, "PNG")[:5000], r"truncated|broken"),
        (lambda image: encoded(image.resize((1, 60)), "PNG"), r"its sides are 1 x 60"),
        (lambda image: encoded(Image.new("F", (9, 9)), "TIFF"), r"mode F have no agreed range"),
        (lambda image: encoded(image, "PPM"), r"it is not an image"),
    ],
)
def test_broken_photographs_are_named(
    photographs: list[Image.Image], damage: Callable[[Image.Image], bytes], reason: str
) -> None:
    with pytest.raises(UserError, match=rf"^val/x\.JPEG: cannot be decoded \(.*{reason}"):
        decode(damage(photographs[0]), "val/x.JPEG")


def test_decompression_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.warns(Image.DecompressionBombWarning):
        assert decode(encoded(Image.new("L", (40, 40)), "PNG"), "x").size == (40, 40)
    with pytest.raises(UserError, match="decompression bomb"):
        decode(encoded(Image.new("L", (50, 50)), "PNG"), "x")


def test_random_crops() -> None:
    # The picture holds its own coordinates, so that a crop tells where it is from.
    x, y = np.meshgrid(np.arange(240), np.arange(160))
    image = Image.fromarray(np.stack([x, y, 0 * x], axis=2).astype(np.uint8))
    crops = np.stack([random_crop(image, 32, generator(i, "crop")) for i in range(400)]).astype(int)
    left, right = crops[:, :, 0, 0].mean(1), crops[:, :, -1, 0].mean(1)
    top, bottom = crops[:, 0, :, 1].mean(1), crops[:, -1, :, 1].mean(1)
    assert 0.4 < (left > right).mean() < 0.6
    sides = np.abs(right - left) * 32 / 31
    np.testing.assert_allclose(sides, (bottom - top) * 32 / 31, atol=3)
    areas = sides**2 / 160**2
    assert areas.min() == pytest.approx(0.5, abs=0.03)
    assert areas.max() == pytest.approx(1, abs=0.03)
    assert np.minimum(left, right).min() < 4
    assert np.maximum(left, right).max() > 235
    again = random_crop(image, 32, generator(7, "crop"))
    np.testing.assert_array_equal(again, crops[7])


# Drawing


def test_all_of_a_tree(original: Path, tmp_path: Path) -> None:
    parts = make(tmp_path, original)
    for part, split in (("test", "val"), ("fit", "train")):
        stored = parts[part]
        paths = sorted((original / split).glob("n*/[!.]*.JPEG"))
        assert len(stored["ids"]) == len(CLASSES) * PER_CLASS[split]
        assert sorted(stored["ids"]) == sorted(p.relative_to(original).as_posix() for p in paths)
        for name, label, image in zip(
            stored["ids"], stored["labels"], stored["images"], strict=True
        ):
            assert labels.wordnet_ids()[label] == name.split("/")[1]
            expected = centre_crop(Image.open(original / name).convert("RGB"), SIZE)
            np.testing.assert_array_equal(image, expected)
        # Any beginning is balanced.
        assert set(stored["labels"][:3]) == set(map(labels.index, CLASSES))
        assert stored["classes"] == labels.classes()
        assert stored["source"] == f"tree tree, split {split}"
    assert parts["test"]["summary"] == (
        "9 test images of 3 classes and 12 fit images; 0 skipped, 0 duplicates dropped"
    )


def test_same_seed_same_bytes(original: Path, tmp_path: Path, monkeypatch: Any) -> None:
    draws: dict[str, Any] = {
        "test": {"per_class": 2},
        "fit": {"splits": ["train"], "total": 7, "crops": 3},
    }
    first = make(tmp_path / "1", original, **draws)
    # Folders list their files in any order, and threads may be few or many.
    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: reversed(list(listing(self))))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 3)
    second = make(tmp_path / "2", original, **draws)
    torch.set_num_threads(threads)
    other = make(tmp_path / "3", original, seed=2, **draws)
    for part in ("test", "fit"):
        assert first[part]["sha256"] == second[part]["sha256"]
        assert first[part]["ids"] != other[part]["ids"]


def test_total_is_spread_evenly(original: Path, tmp_path: Path) -> None:
    fit = {"splits": ["train"], "total": 8}
    counts = Counter(make(tmp_path, original, fit=fit)["fit"]["labels"])
    assert sorted(counts.values()) == [2, 3, 3]
    short = Path(shutil.copytree(original, tmp_path / "short"))
    for path in sorted((short / "train" / CLASSES[0]).glob("[!.]*.JPEG"))[1:]:
        path.unlink()
    counts = Counter(make(tmp_path, short, fit=fit)["fit"]["labels"])
    assert counts[labels.index(CLASSES[0])] == 1
    assert sorted(counts.values()) == [1, 3, 4]


def test_preferred_photographs_come_first(original: Path, tmp_path: Path) -> None:
    test = {"per_class": 1, "splits": ["val", "train"], "prefer": ["ILSVRC2012_val_*"]}
    for seed in range(3):
        ids = make(tmp_path, original, seed=seed, test=test)["test"]["ids"]
        assert all("/ILSVRC2012_val_" in name for name in ids)
    more = {**test, "per_class": 3}
    assert sum("_val_" in i for i in make(tmp_path, original, test=more)["test"]["ids"]) == 6


def test_preferred_patterns_are_drawn_in_their_order(original: Path, tmp_path: Path) -> None:
    test = {"per_class": 3, "splits": ["val", "train"], "prefer": ["val/*/ILSVRC*", "train/*"]}
    ids = make(tmp_path, original, test=test)["test"]["ids"]
    assert sum(name.startswith("train/") for name in ids) == 6
    assert sum(name.startswith("val/") and "/ILSVRC" in name for name in ids) == 3


def test_overlapping_splits_stay_disjoint(original: Path, tmp_path: Path) -> None:
    draw = {"splits": ["train", "val"]}
    parts = make(tmp_path, original, test={**draw, "per_class": 5}, fit={**draw, "crops": 2})
    fitted = {name.split("#")[0] for name in parts["fit"]["ids"]}
    assert len(parts["test"]["ids"]) == 15
    assert len(fitted) == 6
    assert not fitted & set(parts["test"]["ids"])
    assert parts["fit"]["params"]["drawn"] == 6
    # They are no candidates at all, which is why a draw can be met in full.
    assert parts["fit"]["params"]["duplicates"] == 0


def test_copies_of_test_photographs_are_dropped(tree: Path, tmp_path: Path) -> None:
    source = tree / "val" / CLASSES[0] / "ILSVRC2012_val_0.JPEG"
    for i in range(40):
        shutil.copy(source, tree / "train" / CLASSES[1] / f"copy_{i}.JPEG")
    parts = make(tmp_path, tree, fit={"splits": ["train"], "per_class": 4})
    assert not any("copy" in name for name in parts["fit"]["ids"])
    assert Counter(parts["fit"]["labels"]) == {labels.index(name): 4 for name in CLASSES}
    assert parts["fit"]["params"]["duplicates"] > 0
    assert f"{parts['fit']['params']['duplicates']} duplicates dropped" in parts["fit"]["summary"]
    every = make(tmp_path, tree)
    assert len(every["fit"]["ids"]) == 12
    assert every["fit"]["params"]["duplicates"] == 40


def test_crops(original: Path, tmp_path: Path) -> None:
    single = make(tmp_path / "1", original)["fit"]
    triple = make(tmp_path / "3", original, fit={"splits": ["train"], "crops": 3})["fit"]
    assert triple["ids"] == [f"{name}#{i}" for name in single["ids"] for i in range(3)]
    assert triple["labels"] == [label for label in single["labels"] for _ in range(3)]
    np.testing.assert_array_equal(triple["images"][::3], single["images"])
    assert len({image.tobytes() for image in triple["images"]}) == 36
    # A photograph's crops do not depend on which others are drawn.
    fewer = make(tmp_path / "s", original, fit={"splits": ["train"], "crops": 3, "per_class": 1})[
        "fit"
    ]
    for i, name in enumerate(fewer["ids"]):
        np.testing.assert_array_equal(
            fewer["images"][i], triple["images"][triple["ids"].index(name)]
        )


def test_each_photograph_is_cropped_in_its_own_way(tree: Path, tmp_path: Path) -> None:
    folder = tree / "train" / CLASSES[0]
    # The same pixels in another file: what follows a JPEG's end is not read.
    data = (folder / f"{CLASSES[0]}_1.JPEG").read_bytes()
    (folder / "twin.JPEG").write_bytes(data + b"\0")
    fitted = make(tmp_path, tree, fit={"splits": ["train"], "crops": 2})["fit"]
    rows = dict(zip(fitted["ids"], fitted["images"], strict=True))
    twins = [f"train/{CLASSES[0]}/{name}.JPEG" for name in (f"{CLASSES[0]}_1", "twin")]
    standard, random = ([rows[f"{name}#{i}"] for name in twins] for i in range(2))
    np.testing.assert_array_equal(*standard)
    assert (random[0] != random[1]).any()


def test_skipping_broken_photographs(tree: Path, tmp_path: Path, capsys: Any) -> None:
    (tree / "val" / CLASSES[0] / f"{CLASSES[0]}_1.JPEG").write_bytes(b"")
    (tree / "val" / CLASSES[1] / f"{CLASSES[1]}_1.JPEG").unlink()
    (tree / "val" / CLASSES[1] / f"{CLASSES[1]}_1.JPEG").symlink_to(f"{CLASSES[1]}_1.JPEG")
    with pytest.raises(UserError, match=r"_1\.JPEG: cannot be .*images.broken: skip"):
        make(tmp_path, tree)
    assert not (tmp_path / "made").exists()
    tested = make(tmp_path, tree, broken="skip")["test"]
    assert len(tested["ids"]) == len(tested["images"]) == 7
    assert tested["params"]["drawn"] == 9
    assert "; 2 skipped" in tested["summary"]
    log = capsys.readouterr().out
    assert f"skipped: val/{CLASSES[0]}/{CLASSES[0]}_1.JPEG: cannot be decoded" in log
    assert f"skipped: val/{CLASSES[1]}/{CLASSES[1]}_1.JPEG: cannot be read" in log
    for path in (tree / "val").glob("*/*.JPEG"):
        path.unlink()
        path.write_bytes(b"")
    with pytest.raises(UserError, match="none of the 9 photographs can be decoded"):
        make(tmp_path, tree, broken="skip")


def test_names_that_need_care(tree: Path, tmp_path: Path) -> None:
    folder = tree / "val" / CLASSES[0]
    (folder / f"{CLASSES[0]}_1.JPEG").rename(folder / "a#1.JPEG")
    (folder / f"{CLASSES[0]}_2.JPEG").rename(folder / os.fsdecode(b"\xff.JPEG"))
    ids = make(tmp_path, tree, test={"crops": 2})["test"]["ids"]
    assert f"val/{CLASSES[0]}/a%231.JPEG#1" in ids
    assert f"val/{CLASSES[0]}/\\udcff.JPEG#0" in ids


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": {"per_class": 4}}, r"test\.per_class: 4 .* class n01440764 tench has 3\. "),
        ({"fit": {"total": 13, "splits": ["train"]}}, r"fit\.total: 13 .* only 12\."),
        ({"test": {"total": 3, "per_class": 1}}, "both per_class and total"),
        ({"test": {"splits": ["test"]}}, r"no split 'test'; found train, val\."),
        ({"fit": {"splits": ["val"]}}, "images.fit: no photograph is left"),
        ({"layout": "folder"}, r"images\.layout: 'folder' .* imagenet, packages, table, tree\."),
        ({"layout": "table"}, "layout table needs a CSV"),
        ({"layout": "imagenet"}, r"ILSVRC2012_img_val\.tar: no such file"),
    ],
)
def test_mistakes_in_the_draw(
    original: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make(tmp_path, original, **changes)


@pytest.mark.parametrize("layout", ["tree", "imagenet", "table"])
def test_mistakes_in_the_root(tmp_path: Path, layout: str) -> None:
    with pytest.raises(UserError, match=r"images_root: is not set.*--config images_root="):
        make(tmp_path, None, layout=layout)
    with pytest.raises(UserError, match=r"images_root: .*nowhere does not exist"):
        make(tmp_path, tmp_path / "nowhere", layout=layout)
    (tmp_path / "void").mkdir()
    with pytest.raises(UserError, match=r"images_root: .*void is empty"):
        make(tmp_path, tmp_path / "void", layout=layout)


def test_mistakes_in_a_tree(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"list\.csv: is neither a folder nor an archive"):
        make(tmp_path, tree / "list.csv")
    with pytest.raises(UserError, match=r"has no split 'val'; found train, val\. |found tree"):
        make(tmp_path, tree.parent)
    (tree / "val" / "n02084071").mkdir()
    with pytest.raises(
        UserError, match=r"val/n02084071: 'n02084071' is not a WordNet id .* such as"
    ):
        make(tmp_path, tree)
    (tree / "val" / "n02084071").rename(tree / "val" / "n01443537")
    with pytest.raises(UserError, match="class n01443537 goldfish has 0"):
        make(tmp_path, tree, test={"per_class": 1})
    (tree / "val" / "loop").symlink_to(tree / "val" / "loop")
    assert len(make(tmp_path, tree)["test"]["ids"]) == 9
    for folder in (tree / "val").glob("n*"):
        shutil.rmtree(folder)
    with pytest.raises(UserError, match="found no photograph in layout tree"):
        make(tmp_path, tree)


# Archives


def tarred(path: Path, folder: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        tar.add(folder, arcname="imagenette2")
        for name in ("../val/n01440764/up.JPEG", "/val/n01440764/absolute.JPEG"):
            tar.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("imagenette2/val/n01440764/link.JPEG")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return path


def zipped(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.rglob("*"):
            archive.write(file, Path("imagenette2") / file.relative_to(folder))
        link = zipfile.ZipInfo("imagenette2/val/n01440764/link.JPEG")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("../val/n01440764/up.JPEG", b"")
    return path


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.tar.bz2", "a.tar.xz", "A.TAR", "a.zip"])
def test_archives_equal_folders(original: Path, tmp_path: Path, name: str) -> None:
    modes = {".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}
    path = tmp_path / name
    if name.endswith("zip"):
        zipped(path, original)
    else:
        tarred(path, original, modes.get(path.suffix, "w"))
    draws: dict[str, Any] = {
        "test": {"per_class": 2},
        "fit": {"splits": ["train", "val"], "total": 9},
    }
    expected, archived = (
        make(tmp_path / f"from {root.name}", root, **draws) for root in (original, path)
    )
    for part in ("test", "fit"):
        assert archived[part]["ids"] == expected[part]["ids"]
        np.testing.assert_array_equal(archived[part]["images"], expected[part]["images"])
    # Nothing was unpacked beside it.
    assert {p.name for p in tmp_path.iterdir()} == {name, f"from {name}", "from tree"}
    with pytest.raises(UserError, match=rf"{name}: has no split 'test'; found train, val"):
        make(tmp_path, path, test={"splits": ["test"]})


@pytest.mark.parametrize(("root", "source"), [("tree", "tree tree"), (None, "tree images.tgz")])
def test_a_downloaded_archive_is_the_root_that_is_not_set(
    original: Path, tmp_path: Path, root: str | None, source: str
) -> None:
    paths = {part: str(tmp_path / f"{part}.h5") for part in ("test", "fit")}
    archive = str(tarred(tmp_path / "images.tgz", original, "w:gz"))
    folder = None if root is None else str(original)
    images_script.main(**paths, root=folder, image_options=image_options(), seed=1, archive=archive)
    with h5py.File(paths["test"]) as file:
        assert file.attrs["source"] == f"{source}, split val"
    with pytest.raises(UserError, match="images_root: is not set"):
        images_script.main(**paths, root=None, image_options=image_options(), seed=1, archive=[])


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.zip"])
@pytest.mark.parametrize("share", [0, 0.6])
def test_truncated_archives(original: Path, tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    if name.endswith("zip"):
        zipped(path, original)
    else:
        tarred(path, original, "w:gz" if name.endswith("gz") else "w")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match=rf"{name}: cannot be read to its end .*download it again"):
        make(tmp_path, path)


# ImageNet as downloaded


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def imagenet(original: Path, tmp_path: Path) -> Path:
    """Both archives and the development kit; classes are numbered in an order of its own."""
    root = tmp_path / "ILSVRC2012"
    root.mkdir()
    truth = []
    with tarfile.open(root / "ILSVRC2012_img_val.tar", "w") as tar:
        for i, path in enumerate(sorted((original / "val").glob("n*/[!.]*.JPEG")), start=1):
            add(tar, f"ILSVRC2012_val_{i:08d}.JPEG", path.read_bytes())
            truth.append(3 - CLASSES.index(path.parent.name))
    with tarfile.open(root / "ILSVRC2012_img_train.tar", "w") as outer:
        for wordnet_id in CLASSES:
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as inner:
                for path in sorted((original / "train" / wordnet_id).glob("[!.]*.JPEG")):
                    add(inner, path.name, path.read_bytes())
            add(outer, f"{wordnet_id}.tar", buffer.getvalue())
    synsets = np.array(
        [(3 - i, wordnet_id, "words") for i, wordnet_id in enumerate(CLASSES)],
        dtype=[("ILSVRC2012_ID", "f8"), ("WNID", "O"), ("words", "O")],
    )
    meta = io.BytesIO()
    scipy.io.savemat(meta, {"synsets": synsets[:, None]})
    with tarfile.open(root / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as tar:
        add(tar, "ILSVRC2012_devkit_t12/data/meta.mat", meta.getvalue())
        lines = "\n".join(map(str, truth)).encode() + b"\n"
        add(tar, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", lines)
    return root


def test_imagenet_equals_the_tree(imagenet: Path, original: Path, tmp_path: Path) -> None:
    expected = make(tmp_path / "1", original)
    archived = make(tmp_path / "2", imagenet, layout="imagenet")
    assert archived["fit"]["ids"] == expected["fit"]["ids"]
    np.testing.assert_array_equal(archived["fit"]["images"], expected["fit"]["images"])
    by_pixels = {
        image.tobytes(): label
        for image, label in zip(expected["test"]["images"], expected["test"]["labels"], strict=True)
    }
    assert len(archived["test"]["ids"]) == 9
    for name, image, label in zip(
        *(archived["test"][k] for k in ("ids", "images", "labels")), strict=True
    ):
        assert by_pixels[image.tobytes()] == label
        assert name.startswith(f"val/{labels.wordnet_ids()[label]}/ILSVRC2012_val_0000000")


def test_ground_truths_agree(imagenet: Path, tmp_path: Path) -> None:
    kit = imagenet / "ILSVRC2012_devkit_t12.tar.gz"
    expected = make(tmp_path / "1", imagenet, layout="imagenet")["test"]
    with tarfile.open(kit) as tar:
        for member in tar.getmembers():
            content = tar.extractfile(member)
            assert content is not None
            (imagenet / Path(member.name).name).write_bytes(content.read())
    kit.unlink()
    unpacked = make(tmp_path / "2", imagenet, layout="imagenet")["test"]
    (imagenet / "meta.mat").unlink()
    with pytest.raises(UserError, match=r"no ground truth .* ILSVRC2012_devkit_t12\.tar\.gz"):
        make(tmp_path, imagenet, layout="imagenet")
    pairs = [
        (n.split("/")[2], label)
        for n, label in zip(expected["ids"], expected["labels"], strict=True)
    ]
    (imagenet / "val.txt").write_text("".join(f"{n} {label}\n" for n, label in pairs))
    indices = make(tmp_path / "3", imagenet, layout="imagenet")["test"]
    wordnet_ids = labels.wordnet_ids()
    text = "".join(f"val/{Path(n).stem}\t{wordnet_ids[label]}\n\n" for n, label in pairs)
    (imagenet / "val.txt").write_text(text)
    listed = make(tmp_path / "4", imagenet, layout="imagenet")["test"]
    assert {variant["sha256"] for variant in (expected, unpacked, indices, listed)} == {
        expected["sha256"]
    }
    (imagenet / "val.txt").write_text("ILSVRC2012_val_00000001.JPEG 1000\n")
    with pytest.raises(UserError, match=r"val\.txt, line 1: label 1000 is not a class"):
        make(tmp_path, imagenet, layout="imagenet")
    (imagenet / "val.txt").write_text("ILSVRC2012_val_00000001.JPEG 65\n")
    with pytest.raises(UserError, match=r"no entry for 'ILSVRC2012_val_00000002\.JPEG'"):
        make(tmp_path, imagenet, layout="imagenet")


def test_truncated_training_archive(imagenet: Path, tmp_path: Path) -> None:
    path = imagenet / "ILSVRC2012_img_train.tar"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"img_train\.tar: cannot be read to its end"):
        make(tmp_path, imagenet, layout="imagenet")


# Tables


def test_table(original: Path, tmp_path: Path) -> None:
    rows = [(f"val/{c}/{c}_1.JPEG", c if c == CLASSES[0] else labels.index(c)) for c in CLASSES]
    table = tmp_path / "labels.csv"
    table.write_text("\ufefffile,label\n" + "".join(f"{n},{label}\n" for n, label in rows))
    draws: dict[str, Any] = {
        "test": {"table": str(table), "total": 2},
        "fit": {"table": str(table)},
    }
    parts = make(tmp_path, original, layout="table", **draws)
    assert len(parts["test"]["ids"]) == 2
    assert sorted(parts["test"]["ids"] + parts["fit"]["ids"]) == sorted(name for name, _ in rows)
    for part in parts.values():
        for name, label in zip(part["ids"], part["labels"], strict=True):
            assert labels.wordnet_ids()[label] == name.split("/")[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,class\na.jpg,1\n", r"labels\.csv: has the columns class, name\. Expected file and"),
        ("", r"has the columns none"),
        ("file,Label,label\na.jpg,1,2\n", r"has several columns called label .* rename the others"),
        ("file,label\na.jpg,1\nb.jpg,1000\n", r"labels\.csv, line 3: label 1000"),
        ("file,label\na.jpg\n", r"line 2: has fewer columns than the first line"),
        (
            "file,label\na.jpg,1\na.jpg,2\n",
            r"line 3: 'a\.jpg' was listed before with another label, 1 ",
        ),
        ("file,label\na.jpg,1\n", r"^a\.jpg: cannot be read \(.*No such file"),
        (None, r"labels\.csv: no such file"),
    ],
)
def test_mistakes_in_a_table(tmp_path: Path, text: str | None, message: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/b.jpg").write_bytes(b"")
    if text is not None:
        (tmp_path / "root/labels.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        make(tmp_path, tmp_path / "root", layout="table", test={"table": "labels.csv"})


# Packages

FOOLBOX = {"package": "foolbox", "files": "data/imagenet_*.jpg", "label": r"_(\d+)\.jpg$"}
SKLEARN = {"package": "sklearn", "files": ["datasets/images/china.jpg", "datasets/images/f*.jpg"]}


def test_packages(tmp_path: Path) -> None:
    package("foolbox")
    draws: dict[str, Any] = {
        "test": {"packages": [FOOLBOX]},
        "fit": {"packages": [SKLEARN, FOOLBOX], "crops": 4},
    }
    parts = make(tmp_path, None, layout="packages", **draws)
    assert len(parts["test"]["ids"]) == 20
    for name, label in zip(parts["test"]["ids"], parts["test"]["labels"], strict=True):
        assert name.startswith("foolbox/data/imagenet_")
        assert name.endswith(f"_{label}.jpg")
    assert set(parts["fit"]["labels"]) == {-1}
    assert {name.split("#")[0] for name in parts["fit"]["ids"]} == {
        "sklearn/datasets/images/china.jpg",
        "sklearn/datasets/images/flower.jpg",
    }
    assert parts["fit"]["source"] == "packages sklearn, foolbox"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"package": "no_such_package", "files": "*"}, r"pip install no_such_package"),
        ({**SKLEARN, "files": "*.jpg"}, r"package 'sklearn' has no file \*\.jpg"),
        (SKLEARN, r"images\.test: sklearn/.* has no label"),
        ({**SKLEARN, "label": r"(\d+)"}, r"sklearn/.*: the label pattern .* matches no class"),
    ],
)
def test_mistakes_in_packages(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(tmp_path, None, layout="packages", test={"packages": [entry]}, fit={})


def test_imagenette(shared: Path, tmp_path: Path) -> None:
    """Two photographs a class, of those that pretrained networks have not seen."""
    test = {"per_class": 2, "prefer": ["ILSVRC2012_val_*"]}
    summary = images_script.main(
        test=str(tmp_path / "test.h5"),
        fit=str(tmp_path / "fit.h5"),
        root=str(shared / "data/imagenette"),
        image_options=image_options(size=224, test=test, fit={"splits": ["train"], "total": 30}),
        seed=1,
    )
    assert summary.startswith("20 test images of 10 classes and 30 fit images")
    with h5py.File(tmp_path / "test.h5") as file:
        ids = store.strings(file["ids"])
        assert all(name.split("/")[2].startswith("ILSVRC2012_val_") for name in ids)
        expected_labels = [0, 217, 482, 491, 497, 566, 569, 571, 574, 701]
        assert file["labels"][:].tolist() == expected_labels * 2
        names = [text.split()[0] for text in store.strings(file["classes"])]
        assert [names[label] for label in file["labels"]] == [name.split("/")[1] for name in ids]
        original = np.asarray(Image.open(shared / "data/imagenette" / ids[0]))
        np.testing.assert_array_equal(file["images"][0], original)


# Downloads

CONTENT = bytes(range(256)) * 10_000


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        body = b"\n<!doctype html><p>log in</p>" if self.path == "/login" else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1000] if self.path == "/cut" else body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_download(server: str, tmp_path: Path) -> None:
    path = tmp_path / "folder/file.bin"
    summary = download.main(url=f"{server}/file", sha256=SHA256.upper(), file=str(path))
    assert summary == "2560000 bytes"
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("login", r"answered with a web page: 29 bytes of SHA-256"),
        ("cut", r"a truncated file: 1000 bytes .* expected [0-9a-f]{64}"),
        ("missing", r"cannot be downloaded \(HTTP Error 404"),
    ],
)
def test_failed_downloads(server: str, tmp_path: Path, name: str, message: str) -> None:
    path = tmp_path / "file.bin"
    with pytest.raises(
        UserError, match=rf"{server}/{name}: .*{message}.*place it as {path}; .*{SHA256}"
    ):
        download.main(url=f"{server}/{name}", sha256=SHA256, file=str(path))
    assert not list(tmp_path.iterdir())


def test_download_without_a_network(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be downloaded .*refused.* Or fetch it on another"):
        download.main(url="http://127.0.0.1:9/x", sha256=SHA256, file=str(tmp_path / "x"))
