"""What users get wrong, and the sentence that each mistake gets.

Cases that are tested where the code is:

- configuration, unknown key: test_schema.py::test_what_the_schema_refuses
- configuration, wrong type: test_schema.py::test_what_the_schema_refuses
- configuration, impossible value: test_schema.py::test_what_the_schema_refuses
- configuration, any value of any key: \
test_schema.py::test_any_value_of_any_key_is_taken_or_refused_in_one_sentence
- configuration, key twice in a file: \
test_schema.py::test_keys_that_stand_twice_in_a_file_are_refused
- configuration, kind or key of a plug-in: test_schema.py::test_what_a_plug_in_refuses
- configuration, name of a defence, model or pair: \
test_plan.py::test_parts_that_do_not_fit_together_are_refused
- configuration, name that is reserved: \
test_plan.py::test_parts_that_do_not_fit_together_are_refused
- configuration, name with braces: test_plan.py::test_parts_that_do_not_fit_together_are_refused
- missing file of weights, or of a perturbation: \
test_plan.py::test_parts_that_do_not_fit_together_are_refused
- own plug-in, no class or several: test_kinds.py::test_a_file_that_cannot_be_a_plug_in
- own plug-in, no Python: test_kinds.py::test_a_file_that_cannot_be_a_plug_in
- own plug-in, key without a type: \
test_kinds.py::test_keys_that_could_not_be_checked_are_refused
- own plug-in, parameter by position: \
test_kinds.py::test_parameters_that_no_key_could_set_are_refused
- configuration, no stack trace: test_workflow.py::test_a_mistake_is_told_without_a_stack_trace
- image root missing: test_images.py::test_mistakes_in_the_root
- image root empty: test_images.py::test_mistakes_in_the_root
- image root not set: test_images.py::test_mistakes_in_the_root
- split that is not there: test_images.py::test_mistakes_in_the_draw
- class with too few images: test_images.py::test_mistakes_in_the_draw
- fewer images than asked for: test_images.py::test_mistakes_in_the_draw
- wrong WordNet id: test_images.py::test_mistakes_in_a_tree
- class without images: test_images.py::test_mistakes_in_a_tree
- symlink loop as a class: test_images.py::test_mistakes_in_a_tree
- symlink loop as a photograph: test_images.py::test_skipping_broken_photographs
- truncated JPEG: test_images.py::test_broken_photographs_are_named
- text named .JPEG: test_images.py::test_broken_photographs_are_named
- zero-byte file: test_images.py::test_broken_photographs_are_named
- image as a line: test_images.py::test_broken_photographs_are_named
- CMYK: test_images.py::test_cmyk
- 16-bit: test_images.py::test_grey_of_8_and_16_bits
- animated GIF: test_images.py::test_first_frame_of_an_animation
- EXIF rotation: test_images.py::test_exif_orientation
- broken EXIF: test_images.py::test_broken_exif_costs_nothing
- file names that are no UTF-8: test_images.py::test_names_that_need_care
- archive with ../ members and links out of it: test_images.py::test_archives_equal_folders
- truncated archive: test_images.py::test_truncated_archives
- truncated archive of ImageNet: test_images.py::test_truncated_training_archive
- ImageNet without ground truth: test_images.py::test_ground_truths_agree
- duplicates between fit and test: test_images.py::test_copies_of_test_photographs_are_dropped
- table without its columns: test_images.py::test_mistakes_in_a_table
- label that is no class: test_images.py::test_mistakes_in_a_table
- package that is not installed: test_images.py::test_mistakes_in_packages
- proxy that answers HTML: test_images.py::test_failed_downloads
- download cut short: test_images.py::test_failed_downloads
- no network: test_images.py::test_download_without_a_network
- weights of another architecture: test_models.py::test_bad_weights_are_explained
- weights with another sha256: test_models.py::test_bad_weights_are_explained
- malicious pickle: test_models.py::test_bad_weights_are_explained
- unknown architecture: test_models.py::test_mistakes_in_an_entry_are_explained
- network that cannot be imported: test_models.py::test_what_cannot_be_imported_is_explained
- perturbation of another size: test_published.py::test_what_cannot_be_right_is_refused
- perturbation with NaN: test_published.py::test_what_cannot_be_right_is_refused
- perturbation out of bounds: test_published.py::test_what_cannot_be_right_is_refused
- perturbation in 0..1: test_published.py::test_what_cannot_be_right_is_refused
- perturbation that is a pickle: test_published.py::test_files_that_are_not_arrays_are_refused
- HDF5 truncated: test_store.py::test_a_truncated_file_is_named
- HDF5 of another schema: test_store.py::test_another_schema_is_refused
- HDF5 of somebody else's: test_store.py::test_a_foreign_file_is_refused
- full disk: test_limits.py::test_what_does_not_fit_is_refused_before_it_is_begun
- disk that fills up: test_limits.py::test_a_disk_that_fills_up_is_said_and_leaves_no_half_file
- too little memory: test_limits.py::test_too_little_memory_names_what_to_lower
- full GPU: test_limits.py::test_a_gpu_that_is_full_is_no_mistake_of_the_code
- GPU where there is none: test_job.py::test_a_missing_gpu_is_said
- second run at the same time: test_resuming.py::test_two_jobs_do_not_share_a_checkpoint
"""

import ast
import email.message
import errno
import io
import re
import struct
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import urllib.response
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from safetensors.torch import save_file

import download
from advrob import models
from advrob.errors import UserError
from advrob.files import store
from advrob.images import extract, labels, published
from advrob.images.decode import decode
from conftest import ROOT
from photographs import two_splits

CLASSES = ["n01440764", "n02102040"]


def test_the_cases_above_are_tested_where_they_say() -> None:
    cases = re.findall(r"^- ([^:]+): (test_\w+\.py)::(test_\w+)$", __doc__, re.MULTILINE)
    assert len(cases) == len(re.findall("^- ", __doc__, re.MULTILINE)) >= 40
    for case, file, name in cases:
        (path,) = (ROOT / "tests").rglob(file)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in functions, case


# Photographs


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two splits of two classes of two images."""
    return two_splits(tmp_path / "tree", CLASSES, jpeg)


def draw(root: Path, layout: str = "tree", **test: object) -> list[str]:
    """Draw all of a tree; the names of the test images."""
    image_options = {
        "size": 16,
        "layout": layout,
        "broken": "error",
        "test": {"splits": ["val"]} | test,
        "fit": {"splits": ["train"]},
    }
    test_file = root.parent / "test.h5"
    fit_file = root.parent / "fit.h5"
    extract(test=test_file, fit=fit_file, root=str(root), image_options=image_options, seed=1)
    with store.read(test_file, "images/1") as file:
        return store.strings(file["ids"])


def test_a_decompression_bomb_is_not_decoded() -> None:
    """A PNG of 60,000 x 60,000 pixels, 10.8 GB when decoded, in 100 bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))
    with pytest.raises(UserError, match=r"^x\.png: .*3600000000 pixels.* Save it smaller"):
        decode(data, "x.png")


def test_names_beyond_ascii_are_kept(tree: Path) -> None:
    (tree / "val" / CLASSES[0] / "0.JPEG").rename(tree / "val" / CLASSES[0] / "größe 鱼 🐟.JPEG")
    assert f"val/{CLASSES[0]}/größe 鱼 🐟.JPEG" in draw(tree)


def test_an_image_root_that_is_a_symlink_loop_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError, match=r"images_root: .*loop does not exist\. Expected a folder"):
        draw(tmp_path / "loop")


def test_a_folder_named_as_a_photograph(tree: Path) -> None:
    (tree / "val" / CLASSES[0] / "x.JPEG").mkdir()
    with pytest.raises(UserError, match=r"x\.JPEG: cannot be read \(.*directory.*broken: skip"):
        draw(tree)


# Archives


def zipped(tree: Path, path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(tree.rglob("*.JPEG")):
            archive.write(file, file.relative_to(tree))
    return path


def patched(data: bytes, local: int, central: int, value: int) -> bytes:
    """A zip with another number in the header of every member, at both places."""
    changed = bytearray(data)
    for signature, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        for match in re.finditer(re.escape(signature), data):
            struct.pack_into("<H", changed, match.start() + offset, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: patched(data, 6, 8, 1), r"'train/.*\.JPEG' is encrypted\. Expected .*Unpack"),
        (lambda data: patched(data, 8, 10, 98), r"cannot be read .*compression.*another TMPDIR"),
        (lambda data: data.replace(b"JFIF", b"jfif"), r"cannot be read to its end \(Bad CRC-32"),
        (lambda data: b"<html>log in</html>", r"cannot be read to its end .*download it again"),
    ],
    ids=["encrypted", "compression", "checksum", "web page"],
)
def test_zips_that_cannot_be_read(
    tree: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = zipped(tree, tree.parent / "a.zip")
    assert len(draw(path)) == 4
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=rf"a\.zip: {message}"):
        draw(path)


# ImageNet


def meta(wordnet_ids: list[str]) -> bytes:
    synsets = np.array(
        [(1.0 + i, name) for i, name in enumerate(wordnet_ids)],
        dtype=[("ILSVRC2012_ID", "f8"), ("WNID", "O")],
    )
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"synsets": synsets[:, None]}, do_compression=True)
    return buffer.getvalue()


TRUTH = "ILSVRC2012_validation_ground_truth.txt"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"meta.mat": b"text"}, r"meta\.mat: cannot be read \(.*kit_t12\.tar\.gz again"),
        ({"meta.mat": meta(CLASSES)[:200]}, r"meta\.mat: cannot be read \("),
        ({"meta.mat": meta(CLASSES).replace(b"x\x9c", b"xx")}, r"meta\.mat: cannot be read \("),
        ({TRUTH: b"1\n2\nx\n"}, rf"{TRUTH}: cannot be read \(ValueError: .*'x'"),
        ({TRUTH: b"1\n2\n3\n"}, rf"{TRUTH}: cannot be read \(KeyError: 3\)"),
        ({"val.txt": b"\xff\xfe\x00"}, r"val\.txt: cannot be read \(UnicodeDecodeError.*of UTF-8"),
        ({TRUTH: b"1\n"}, r"no entry for 'ILSVRC2012_val_00000002\.JPEG'"),
        ({"meta.mat": meta(["n00000000", CLASSES[1]])}, "'n00000000' is not a WordNet id"),
    ],
)
def test_ground_truth_that_cannot_be_right(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    root = tmp_path / "imagenet"
    root.mkdir()
    with tarfile.open(root / "ILSVRC2012_img_val.tar", "w") as tar:
        for number in (1, 2):
            info = tarfile.TarInfo(f"ILSVRC2012_val_{number:08d}.JPEG")
            data = jpeg(number)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    for name, content in ({"meta.mat": meta(CLASSES), TRUTH: b"1\n2\n"} | files).items():
        (root / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        draw(root, layout="imagenet")


# Tables


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "file,label\ngrün.jpg,1\n".encode("latin-1"),
            r"labels\.csv: is not text in UTF-8 .* Save",
        ),
        (b"label,file\n1\n", r"labels\.csv, line 2: has fewer columns than the first line"),
        (b"file label\na.jpg 1\n", r"has the columns file label\. Expected file and label"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "labels.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        draw(root, layout="table", table="labels.csv")


# Downloads


@pytest.mark.parametrize("url", ["imagenette.tgz", "https://", "gopher://host/file"])
def test_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match=rf"^{url}: cannot be downloaded \(.*Check the address"):
        download.main(url=url, sha256="0" * 64, file=str(tmp_path / "file"))
    assert list(tmp_path.iterdir()) == []


# Weights


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda file: torch.save([torch.zeros(1)], file), "holds no tensors. Expected"),
        (lambda file: torch.save(torch.zeros(1), file), "holds no tensors. Expected"),
        (lambda file: torch.save({"model": 3}, file), "holds no tensors. Expected"),
        (lambda file: torch.save({"a": 3}, file), "holds no tensors. Expected"),
        (
            lambda file: torch.save({"a": torch.zeros(1)}, file),
            "holds the tensors of another architecture",
        ),
        (
            lambda file: torch.save(torch.nn.Identity(), file),
            r"\(it holds an object of type torch\.nn\S+; save the network's state_dict\(\)",
        ),
        (lambda file: file.write_bytes(b""), "cannot be read as tensors"),
        (lambda file: file.write_text("<html>log in</html>"), "cannot be read as tensors"),
        (lambda file: file.mkdir(), "found no file"),
    ],
)
def test_files_that_are_no_weights(
    tmp_path: Path, write: Callable[[Path], object], message: str
) -> None:
    file = tmp_path / "w.pth"
    write(file)
    entry = {"kind": "timm", "architecture": "test_resnet", "weights": str(file)}
    with pytest.raises(UserError, match=rf"^models\.mine\.weights: .*{message}"):
        models.build("mine", entry)


def test_truncated_weights(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file({"conv1.weight": torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"w\.safetensors cannot be read as tensors .*Expected a"):
        models.build("mine", {"kind": "timm", "architecture": "test_resnet", "weights": str(file)})


def refused(request: urllib.request.Request) -> urllib.response.addinfourl:
    raise urllib.error.URLError(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"))


def logged_out(request: urllib.request.Request) -> urllib.response.addinfourl:
    page = io.BytesIO(b"<html>log in</html>")
    return urllib.response.addinfourl(page, email.message.Message(), request.full_url)


@pytest.mark.parametrize(
    ("answer", "message"), [(refused, "Connection refused"), (logged_out, "invalid hash value")]
)
def test_pretrained_weights_without_a_network_or_from_a_proxys_page(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[urllib.request.Request], urllib.response.addinfourl],
    message: str,
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", answer)
    expected = (
        rf"^models\.mine: its pretrained .*{message}.* name the file in models\.mine\.weights"
    )
    with pytest.raises(UserError, match=expected):
        models.build("mine", {"kind": "torchvision", "architecture": "squeezenet1_1"})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


# Perturbations


GOOD = np.random.default_rng(0).uniform(-10, 10, (8, 8, 3)).astype(np.float32)


def matlab(value: object, **options: bool) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"r": value}, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (matlab(GOOD)[:300], r"cannot be read \(.*Expected a MATLAB"),
        (matlab(GOOD, do_compression=True)[:300], r"cannot be read \(.*Expected a MATLAB"),
        (matlab(GOOD * 1j), r"values of type complex\d+, expected real numbers"),
        (matlab(np.full((8, 8, 3), "a", dtype=object)), "values of type object, expected real"),
        (
            matlab(GOOD.transpose(2, 1, 0)[:, :7]),
            r"shape \(3, 7, 8\), expected \(8, 8, 3\): height",
        ),
        (matlab(GOOD / 255), r"seem to be for pixels in 0\.\.1: set perturbations"),
    ],
)
def test_files_that_are_no_perturbation(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "p.mat").write_bytes(content)
    with pytest.raises(UserError, match=rf"^perturbations\.published\.p\.file: .*{message}"):
        published.read(
            tmp_path / "p.mat", size=8, norm="linf", radius=10, key="perturbations.published.p"
        )


# Files of the workflow


def written(path: Path) -> Path:
    with store.write(path, "state/1", seed=1, params={}, source="") as file:
        store.put(file, {"a": np.zeros(100)})
    return path


def test_a_file_that_somebody_else_is_writing(tmp_path: Path) -> None:
    """Where the file system has locks, as HDF5 wants."""
    path = written(tmp_path / "a.h5")
    code = "import h5py, sys\nwith h5py.File(sys.argv[1], 'a'): print('open', flush=True); input()"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with (
            pytest.raises(UserError, match=r"a\.h5: .*lock.*another process is writing it\. "),
            store.read(path, "state/1"),
        ):
            pass
        other.communicate(b"\n")
    with store.read(path, "state/1") as file:
        assert len(file["a"]) == 100


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b""), "cannot be opened as HDF5"),
        (lambda path: path.write_text("<html>log in</html>"), "cannot be opened as HDF5"),
        (lambda path: path.unlink() or path.mkdir(), "cannot be opened as HDF5"),
        (lambda path: path.unlink() or path.symlink_to(path), "no such file"),
    ],
    ids=["empty", "web page", "folder", "symlink loop"],
)
def test_files_that_are_not_the_workflows(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    path = written(tmp_path / "a.h5")
    damage(path)
    with pytest.raises(UserError, match=rf"a\.h5: {message}"), store.read(path, "state/1"):
        pass


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_results_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """As on a disk that is mounted read-only; whoever runs the tests may be allowed everything."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(code, "refused")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"results/a\.h5: cannot be written .*with --directory"):
        written(tmp_path / "results/a.h5")


def test_a_results_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    for path in ("results/a.h5", "results/deeper/a.h5"):
        with pytest.raises(UserError, match=r"cannot be written \(.*Expected a folder"):
            written(tmp_path / path)


# Labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1000", "label 1000 is not a class of ImageNet-1k. Expected an index from 0 to 999"),
        ("-1", "'-1' is not a class of ImageNet-1k"),
        ("3.0", "'3.0' is not a class of ImageNet-1k"),
        ("n0144076", "Expected one of its 1000 ids, such as n01440764"),
        ("", "'' is not a class of ImageNet-1k"),
    ],
)
def test_labels_that_are_none(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        labels.parse(text)
