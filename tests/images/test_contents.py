"""The fingerprint of photographs: what is in them counts, not where they are."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from advrob.images import fingerprint
from conftest import ROOT
from photographs import photograph

IMAGE_OPTIONS: dict[str, dict[str, Any]] = {
    "tree": {"layout": "tree", "test": {"splits": ["val"]}, "fit": {"splits": ["train"]}},
    "table": {"layout": "table", "test": {"table": "labels.csv"}, "fit": {"folder": "train"}},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for i, split in enumerate(("train", "val")):
        (folder / split / "tench").mkdir(parents=True)
        for k in range(2):
            (folder / split / "tench" / f"{k}.JPEG").write_bytes(photograph(2 * i + k))
    (folder / "labels.csv").write_text("file,label\nval/tench/0.JPEG,0\n")
    return folder


@pytest.mark.parametrize("layout", IMAGE_OPTIONS)
def test_another_spelling_or_place_is_the_same(root: Path, tmp_path: Path, layout: str) -> None:
    expected = fingerprint(str(root), IMAGE_OPTIONS[layout])
    (tmp_path / "link").symlink_to(root)
    copy = shutil.copytree(root, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    for other in (f"{root}/", f"{root}/val/..", tmp_path / "link", os.path.relpath(root), copy):
        assert fingerprint(str(other), IMAGE_OPTIONS[layout]) == expected


@pytest.mark.parametrize("layout", IMAGE_OPTIONS)
def test_what_is_not_drawn_from_does_not_count(root: Path, layout: str) -> None:
    expected = fingerprint(str(root), IMAGE_OPTIONS[layout])
    (root / "notes.txt").write_text("no photograph")
    (root / "other").mkdir()
    (root / "other/a.JPEG").write_bytes(photograph(9))
    assert fingerprint(str(root), IMAGE_OPTIONS[layout]) == expected


@pytest.mark.parametrize("layout", IMAGE_OPTIONS)
@pytest.mark.parametrize("name", ["val/tench/0.JPEG", "train/tench/1.JPEG"])
def test_a_byte_of_a_photograph_counts(root: Path, layout: str, name: str) -> None:
    expected = fingerprint(str(root), IMAGE_OPTIONS[layout])
    file = root / name
    times = file.stat()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert fingerprint(str(root), IMAGE_OPTIONS[layout]) != expected


def test_labels_and_names_count(root: Path) -> None:
    fingerprints = {fingerprint(str(root), IMAGE_OPTIONS["table"])}
    (root / "labels.csv").write_text("file,label\nval/tench/0.JPEG,1\n")
    fingerprints.add(fingerprint(str(root), IMAGE_OPTIONS["table"]))
    (root / "val/tench/0.JPEG").rename(root / "val/tench/9.JPEG")
    fingerprints.add(fingerprint(str(root), IMAGE_OPTIONS["table"]))
    (root / "labels.csv").unlink()
    fingerprints.add(fingerprint(str(root), IMAGE_OPTIONS["table"]))
    assert len(fingerprints) == 4


def test_a_kept_value_is_used_until_a_file_changes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "kept/fingerprint.json"
    expected = fingerprint(str(root), IMAGE_OPTIONS["tree"], cache)
    with monkeypatch.context() as patch:
        patch.setattr("advrob.images.contents.open_regular", None)
        assert fingerprint(str(root), IMAGE_OPTIONS["tree"], cache) == expected
    file = root / "val/tench/0.JPEG"
    times = file.stat()
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert fingerprint(str(root), IMAGE_OPTIONS["tree"], cache) != expected
    cache.write_text("[damaged")
    assert fingerprint(str(root), IMAGE_OPTIONS["tree"], cache) != expected


@pytest.mark.parametrize("root", [None, "/nowhere", "/dev/null", "a\0b"])
@pytest.mark.parametrize("layout", IMAGE_OPTIONS)
def test_what_is_not_there_has_one_too(root: str | None, layout: str) -> None:
    assert len(fingerprint(root, IMAGE_OPTIONS[layout])) == 32


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; from advrob.images import fingerprint as f; sys.exit('torch' in sys.modules)"
    )
    path = str(ROOT / "workflow/scripts")
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0
