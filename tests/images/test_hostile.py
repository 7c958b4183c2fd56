"""Files that are meant, or happen, to hurt: a result or one sentence, never anything else."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, seed
from hypothesis import strategies as st
from PIL import Image

import images as images_script
from advrob.errors import UserError
from advrob.images import labels, verify, workers
from advrob.images.decode import decode
from advrob.images.photographs import Photograph
from conftest import ROOT
from fuzzing import DAMAGES, damaged, fuzzed, memory_limited, time_limited
from photographs import draw, encoded, noise, photograph

CLASS = "n01440764"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for i, split in enumerate(("train", "val")):
        (root / split / CLASS).mkdir(parents=True)
        for k in range(2):
            (root / split / CLASS / f"{k}.JPEG").write_bytes(photograph(2 * i + k))
    return root


# What is no regular file


@pytest.mark.parametrize("broken", ["error", "skip"])
def test_a_named_pipe_is_no_photograph(tree: Path, tmp_path: Path, broken: str) -> None:
    os.mkfifo(tree / "val" / CLASS / "x.JPEG")
    if broken == "skip":
        drawn = draw(tree, tmp_path, broken=broken)
        assert len(drawn["test"]) == 2
        assert "1 skipped" in drawn["summary"][0]
        return
    with pytest.raises(UserError, match=r"x\.JPEG: cannot be read \(it is a named pipe"):
        draw(tree, tmp_path)


def test_named_pipes_elsewhere(tree: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.tar"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match=r"images_root: .*pipe\.tar is a named pipe"):
        draw(pipe, tmp_path)
    table = {"layout": "table", "test": {"table": str(pipe)}, "fit": {}}
    with pytest.raises(UserError, match=r"pipe\.tar: cannot be read \(it is a named pipe"):
        draw(tree, tmp_path, **table)
    for name in ("ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz", "val.txt"):
        (tmp_path / name).symlink_to(pipe)
        with pytest.raises(UserError, match=r": cannot be read \(.*named pipe"):
            draw(tmp_path, tmp_path, layout="imagenet")
        (tmp_path / name).unlink()
        (tmp_path / "ILSVRC2012_img_val.tar").write_bytes(bytes(1024))
    with pytest.raises(UserError, match="named pipe"):
        verify(pipe, "0" * 64)


def test_a_file_system_that_does_not_answer(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.2)
    reading = Photograph.read
    monkeypatch.setattr(
        Photograph, "read", lambda self: time.sleep(3) if self.id[-6] == "1" else reading(self)
    )
    with pytest.raises(UserError, match=r"val/.*/1\.JPEG: could not be read within 0 s"):
        draw(tree, tmp_path)


SLEEPER = """
import sys, time
from types import SimpleNamespace
from advrob.images.photographs import Photograph
from advrob.job.script import run
from photographs import draw
class Named(dict): pass
Photograph.read = lambda self: (print("reading", file=sys.__stdout__, flush=True), time.sleep(600))
sys.modules["__main__"].snakemake = SimpleNamespace(
    wildcards=Named(), params=Named(), input=Named(), output=Named(),
    resources={}, log=[], rule="images", threads=1,
)
from pathlib import Path
run(lambda: draw(Path(sys.argv[1]), Path(sys.argv[2])))
"""


def test_a_job_that_waits_for_a_file_can_be_ended(tree: Path, tmp_path: Path) -> None:
    path = os.pathsep.join(map(str, (ROOT / "workflow/scripts", ROOT / "tests", *sys.path)))
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER, str(tree), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = ""
        while "reading" not in line:
            line = process.stdout.readline()
            assert line
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(timeout=30) == 1
        finally:
            process.kill()
    assert not list(tmp_path.glob("*.h5"))


# What may not be read

NOBODY = 65534


@pytest.fixture
def owned(tree: Path) -> Iterator[Path]:
    """A folder with the tree in it, of a user without the privilege to read everything."""
    if os.geteuid() != 0:
        yield tree.parent
        return
    labels.classes()  # imports what the user may not read
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(tree, Path(folder, "tree"))
        draw(tree, Path(folder))
        for path in (Path(folder), *Path(folder).rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        yield Path(folder)
        os.seteuid(0)


@pytest.mark.parametrize(
    "subpath", [".", "tree", "tree/val", f"tree/val/{CLASS}", f"tree/val/{CLASS}/0.JPEG"]
)
@pytest.mark.parametrize("mode", [0o000, 0o200])
@pytest.mark.parametrize("broken", ["error", "skip"])
def test_what_may_not_be_read_is_not_called_empty(
    owned: Path, subpath: str, mode: int, broken: str
) -> None:
    closed = owned / subpath
    before = closed.stat().st_mode
    closed.chmod(mode)
    try:
        with pytest.raises(UserError, match=r": cannot be read \(Permission .* closed to you"):
            draw(owned / "tree", owned, broken=broken)
    finally:
        closed.chmod(before)


def test_a_table_that_may_not_be_read(owned: Path) -> None:
    (owned / "t.csv").write_text("file,label\n")
    (owned / "t.csv").chmod(0)
    with pytest.raises(UserError, match=r"t\.csv: cannot be read \(Permission .* closed to you"):
        draw(owned, owned, layout="table", test={"table": "t.csv"}, fit={})


# What needs more memory than there is


def test_a_photograph_that_does_not_fit_is_not_broken(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(UserError, match=r"val/.*JPEG: does not fit in memory .*mem_mb"):
        draw(tree, tmp_path, broken="skip")


def test_a_decoder_without_memory_finds_nothing_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """libjpeg reports a failed allocation as broken data."""

    def load(self: Image.Image) -> None:
        raise OSError("broken data stream when reading image file")

    def empty(*args: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    monkeypatch.setattr("advrob.images.decode.np.empty", empty)
    with pytest.raises(MemoryError):
        decode(photograph(1), "x.JPEG")


def test_too_large_is_not_broken(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tree / "val" / CLASS / "0.JPEG").open("ab") as file:
        file.truncate(5 * 10**9)
    with pytest.raises(UserError, match=r"0\.JPEG: has 5,000,000,000 bytes"):
        draw(tree, tmp_path, broken="skip")
    (tree / "val" / CLASS / "0.JPEG").write_bytes(photograph(5))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match=r"JPEG: is too large to be decoded .*at most 2,000 pixels"):
        draw(tree, tmp_path, broken="skip")


# Photographs


def with_chunk(name: bytes, data: bytes) -> bytes:
    png = encoded(noise(1), "PNG")
    checksum = zlib.crc32(name + data).to_bytes(4, "big")
    return png[:33] + len(data).to_bytes(4, "big") + name + data + checksum + png[33:]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b" " * 2_000_000)),
        (b"zTXt", b"parameters\0\0" + zlib.compress(b"a" * 2_000_000)),
        (b"iCCP", b"icc\0\0" + zlib.compress(bytes(2_000_000))),
        (b"tEXt", b"c\0" + b"a" * 70_000_000),
    ],
)
def test_pngs_with_much_beside_their_pixels(name: bytes, data: bytes) -> None:
    np.testing.assert_array_equal(np.asarray(decode(with_chunk(name, data), "x")), noise(1))


def test_text_that_unpacks_to_gigabytes_is_refused() -> None:
    packed = zlib.compress(bytes(10**9), 1)
    with pytest.raises(UserError, match=r"^x: cannot be decoded \(Decompressed data too large"):
        decode(with_chunk(b"zTXt", b"c\0\0" + packed), "x")


# Archives


def tar(*members: tuple[str, bytes, dict[str, str]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data, headers in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.pax_headers = headers
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def whole_tar() -> bytes:
    names = [f"{split}/{CLASS}/{k}.JPEG" for split in ("train", "val") for k in range(2)]
    return tar(*((name, photograph(k), {}) for k, name in enumerate(names)))


def with_member(headers: dict[str, str]) -> bytes:
    return tar(
        *((f"train/{CLASS}/{k}.JPEG", photograph(k), {}) for k in range(2)),
        (f"val/{CLASS}/x.JPEG", photograph(3), headers),
    )


def test_a_name_with_nul(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(with_member({"path": f"val/{CLASS}/a\0b.JPEG"}))
    assert draw(tmp_path / "a.tar", tmp_path)["test"] == [rf"val/{CLASS}/a\x00b.JPEG"]


def _sparse() -> bytes:
    return with_member({"GNU.sparse.map": "1,x", "GNU.sparse.major": "0", "GNU.sparse.size": "x"})


def _damaged_in_the_middle() -> bytes:
    data = bytearray(whole_tar())
    second = 512 + -(-len(photograph(0)) // 512) * 512
    data[second + 3] ^= 1
    return bytes(data)


def _endless_header() -> bytes:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 6 * 10**9
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(10240)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_sparse, "invalid literal for int"),
        (_damaged_in_the_middle, "a damaged header: bad checksum"),
        (_endless_header, r"a header of 6,000,000,000 bytes"),
    ],
)
def test_archives_that_lie(tmp_path: Path, content: Callable[[], bytes], reason: str) -> None:
    (tmp_path / "a.tar").write_bytes(content())
    with pytest.raises(UserError, match=rf"a\.tar: cannot be read to its end \({reason}"):
        draw(tmp_path / "a.tar", tmp_path)


def test_a_member_of_gigabytes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for split in ("val", "train"):
            with archive.open(f"{split}/{CLASS}/x.JPEG", "w") as member:
                for _ in range(45):
                    member.write(bytes(10**7))
    with pytest.raises(UserError, match=r"x\.JPEG: has 400,000,001 bytes"):
        draw(tmp_path / "a.zip", tmp_path, broken="skip")


def test_an_archive_that_was_placed_by_hand_is_verified(tmp_path: Path) -> None:
    archive = tmp_path / "images.tgz"
    archive.write_bytes(whole_tar())
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    verify(archive, checksum.upper())
    with pytest.raises(
        UserError, match=rf"images\.tgz: has the SHA-256 {checksum}, expected 0{{64}}"
    ):
        verify(archive, "0" * 64)
    paths = {part: str(tmp_path / f"{part}.h5") for part in ("test", "fit")}
    drawing = {
        "size": 16,
        "layout": "tree",
        "broken": "error",
        "test": {"splits": ["val"]},
        "fit": {"splits": ["train"]},
    }
    archive_options = {"root": None, "image_options": drawing, "seed": 1, "archive": str(archive)}
    with pytest.raises(UserError, match=r"images\.archive\.sha256"):
        images_script.main(**paths, **archive_options, sha256="0" * 64)
    assert images_script.main(**paths, **archive_options, sha256=checksum).startswith(
        "2 test images"
    )


# Tables and packages


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n0\0.jpg,1\n", r"line 2: has no name of a file but '0\\x00\.jpg'"),
        ("file,label\n,1\n", r"line 2: has no name of a file but ''"),
        ("file,label\n0.jpg," + "9" * 5000 + "\n", r"line 2: label 9{20}\.\.\. is not a class"),
        ("file,label\n0.jpg," + "x" * 5000 + "\n", r"line 2: 'x{60}\.\.\.' is not a class"),
        ('file,label\n"' + "x" * 200_000, r"line 2: is not a line of a table \(field larger"),
        ("file,label\n" + "x" * 300 + ".jpg,1\n", r"x\.jpg: cannot be read \(File name too long"),
    ],
)
def test_tables_that_hurt(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "0.jpg").write_bytes(photograph(0))
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        draw(tmp_path, tmp_path, layout="table", test={"table": "t.csv"}, fit={})


FOOLBOX = {"package": "foolbox", "files": ["data/imagenet_*.jpg"], "label": r"_(\d+)\.jpg$"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": ["/data/*.jpg"]}, "is not a pattern of files"),
        ({"files": [""]}, "'' is not a pattern of files"),
        ({"files": ["**x"]}, r"'\*\*x' is not a pattern of files"),
        ({"files": ["data"]}, "has no file data"),
        ({"label": r"_(\d+"}, r"'_\(\\d\+' is not a regular expression \(missing \)"),
        ({"label": r"(x)?_\d+"}, "matches no class in this name"),
        ({"package": "nosuch.module"}, "'nosuch.module' is not installed"),
        ({"package": "json.decoder"}, "is a module of one file"),
        ({"package": ""}, "'' is not the name of a package"),
        ({"package": "a..b"}, r"'a\.\.b' is not the name of a package"),
    ],
)
def test_entries_of_packages_that_hurt(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        draw(None, tmp_path, layout="packages", test={"packages": [FOOLBOX | change]}, fit={})


def test_paths_that_are_not_utf_8(tree: Path, tmp_path: Path) -> None:
    root = tree.rename(tmp_path / os.fsdecode(b"tr\xff"))
    assert len(draw(root, tmp_path)["test"]) == 2
    (root / "val" / CLASS).rename(root / "val" / os.fsdecode(b"\xfe"))
    with pytest.raises(UserError, match=r"tr\\udcff/val/\\udcfe: '.*' is not a class") as caught:
        draw(root, tmp_path)
    str(caught.value).encode("utf-8")


# Any bytes


@pytest.fixture(scope="module")
def bounded() -> Iterator[None]:
    """Limit the memory of a module's tests, whose libraries are imported by then."""
    labels.classes()
    with memory_limited():
        yield


KINDS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
WHOLE = {kind: encoded(noise(1), kind) for kind in KINDS}


@seed(1)
@fuzzed
@given(
    kind=st.sampled_from(KINDS), damages=DAMAGES, fraction=st.sampled_from([1.0, 1.0, 0.6, 0.05])
)
def test_damaged_photographs(
    bounded: None, kind: str, damages: list[tuple[float, int]], fraction: float
) -> None:
    try:
        with time_limited():
            image = decode(damaged(WHOLE[kind], damages, fraction), "x.JPEG")
    except UserError as error:
        assert str(error).startswith("x.JPEG: ")
    else:
        assert image.mode == "RGB"


TEXT = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    [
        "0.jpg",
        "1.jpg",
        "../0.jpg",
        "/dev/null",
        ".",
        "217",
        "tench",
        "n01440764",
        "file",
        "9" * 5000,
    ]
)


@seed(1)
@fuzzed
@given(
    header=st.sampled_from(["file,label", "label;file", "FILE\tlabel", "file", "\ufefffile|label"]),
    lines=st.lists(st.tuples(TEXT, st.sampled_from([",", ";", "\t", "|", '"']), TEXT), max_size=4),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]),
)
def test_any_table(
    bounded: None, tmp_path: Path, header: str, lines: list[tuple[str, str, str]], encoding: str
) -> None:
    for name in ("0.jpg", "1.jpg"):
        (tmp_path / name).write_bytes(WHOLE["JPEG"])
    text = "\n".join([header, *map("".join, lines)])
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    fit = {"packages": [{"package": "sklearn", "files": "datasets/images/china.jpg"}]}
    try:
        with time_limited():
            draw(tmp_path, tmp_path, layout="table", test={"table": "t.csv"}, fit=fit)
    except UserError as error:
        str(error).encode("utf-8")


def archived(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for k, split in enumerate(("train", "val")):
                archive.writestr(f"{split}/{CLASS}/0.JPEG", photograph(k))
        return buffer.getvalue()
    mode = {"tar": "w", "tgz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}[kind]
    with tarfile.open(fileobj=buffer, mode=mode) as tarred:  # type: ignore[call-overload]
        for k, split in enumerate(("train", "val")):
            info = tarfile.TarInfo(f"{split}/{CLASS}/0.JPEG")
            info.size = len(photograph(k))
            info.pax_headers = {"comment": "é"}
            tarred.addfile(info, io.BytesIO(photograph(k)))
    return buffer.getvalue()


ARCHIVES = {kind: archived(kind) for kind in ("tar", "tgz", "tar.bz2", "tar.xz", "zip")}


@seed(1)
@fuzzed
@given(
    kind=st.sampled_from(sorted(ARCHIVES)),
    damages=DAMAGES,
    fraction=st.sampled_from([1.0, 1.0, 1.0, 0.5]),
    broken=st.sampled_from(["error", "skip"]),
)
def test_damaged_archives(
    bounded: None,
    tmp_path: Path,
    kind: str,
    damages: list[tuple[float, int]],
    fraction: float,
    broken: str,
) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(damaged(ARCHIVES[kind], damages, fraction))
    try:
        with time_limited():
            draw(path, tmp_path, broken=broken)
    except UserError as error:
        str(error).encode("utf-8")
