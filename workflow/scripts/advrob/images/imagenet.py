"""ImageNet (ILSVRC2012) as it is downloaded: archives that are never unpacked."""

import io
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import scipy.io
import torch

from advrob.errors import UserError
from advrob.images import archives, labels
from advrob.images.photographs import (
    Classes,
    Draw,
    Photograph,
    accessing,
    entries,
    error_context,
    existing,
    is_image,
    no_split,
    open_regular,
    portable,
    required,
)
from advrob.job.progress import progress


def imagenet(root: str | None, draw: Draw, files: ExitStack) -> Classes:
    """ILSVRC2012 as downloaded: tars of the validation and the training images."""
    path = existing(root, "the folder with ILSVRC2012_img_val.tar or ILSVRC2012_img_train.tar")
    splits = {"val": _val, "train": _train}
    # Where a name appears again, the last one counts, as if the archive were unpacked.
    by_id: dict[str, Photograph] = {}
    for split in draw.splits:
        if split not in splits:
            raise no_split(path, split, splits)
        archive = path / f"ILSVRC2012_img_{split}.tar"
        photographs: Iterable[Photograph]
        if split == "val" and not archive.exists() and _is_flat(path / split):
            photographs = _unpacked_val(path / split)
        else:
            required(
                archive,
                f"Expected the archive of ImageNet's {split} images as it is downloaded. Put it "
                f"into {path}, or use images.layout: tree for unpacked ones.",
            )
            photographs = splits[split](archive, files)
        by_id.update((photograph.id, photograph) for photograph in photographs)
    classes = defaultdict(list)
    for photograph in by_id.values():
        classes[photograph.label].append(photograph)
    return classes


def _val(archive: Path, files: ExitStack) -> Iterable[Photograph]:
    truth = _ground_truth(archive.parent)
    for member in archives.members(archive, is_image, files):
        label = _true_label(truth, member.name, archive)
        identifier = _val_id(member.name, label)
        yield Photograph(identifier, label, member.file, member.offset, member.size)


def _is_flat(folder: Path) -> bool:
    return folder.is_dir() and any(is_image(file.name) for file in entries(folder))


def _unpacked_val(folder: Path) -> Iterable[Photograph]:
    """The validation images as the archive unpacks them: in one folder, not by class."""
    truth = _ground_truth(folder.parent)
    for file in entries(folder):
        if is_image(file.name):
            label = _true_label(truth, file.name, folder)
            yield Photograph(_val_id(file.name, label), label, str(file))


def _true_label(truth: dict[str, int], name: str, source: Path) -> int:
    stem = Path(name).stem
    if stem not in truth:
        raise UserError(
            f"{source}: the ground truth has no entry for '{name}'. Expected the "
            "validation images and the ground truth of one release, ILSVRC2012."
        )
    return truth[stem]


def _val_id(name: str, label: int) -> str:
    return portable(f"val/{labels.wordnet_ids()[label]}/{Path(name).name}")


def _ground_truth(folder: Path) -> dict[str, int]:
    """The class of each validation image by its name without suffix."""
    listing = folder / "val.txt"
    if listing.exists():
        truths = {}
        with _parsing(listing):
            lines = _bytes(listing).decode("utf-8").splitlines()
        for number, line in enumerate(lines, start=1):
            if fields := line.split():
                with error_context(f"{listing}, line {number}"):
                    truths[Path(fields[0]).stem] = labels.parse(fields[-1])
        return truths
    parts = ("ILSVRC2012_validation_ground_truth.txt", "meta.mat")
    kit = folder / "ILSVRC2012_devkit_t12.tar.gz"
    if kit.exists():
        required(kit, "Expected ImageNet's development kit. Download it again.")
        truth, meta = (archives.read(kit, f"data/{part}") for part in parts)
    else:
        truth, meta = (
            _bytes(folder / part) if (folder / part).exists() else None for part in parts
        )
    if truth is None or meta is None:
        raise UserError(
            f"{folder}: found no ground truth of ImageNet's validation images. Expected "
            f"ILSVRC2012_devkit_t12.tar.gz, or its files {' and '.join(parts)}, or a val.txt with "
            "a file name and a class in each line. Put one of them beside the archive."
        )
    source = kit if kit.exists() else folder
    with _parsing(source / "meta.mat"):
        synsets = scipy.io.loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
        # The ground truth counts classes in an order of its own, which it maps to WordNet ids.
        wordnet_ids = {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in synsets}
    with _parsing(source / parts[0]):
        classes = [wordnet_ids[int(line)] for line in truth.split()]
    return {
        f"ILSVRC2012_val_{number:08d}": labels.index(wordnet_id)
        for number, wordnet_id in enumerate(classes, start=1)
    }


@contextmanager
def _parsing(file: Path) -> Iterator[None]:
    """Name the file of ground truth that is damaged."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # SciPy's reader raises whatever its parsing trips over
        raise UserError(
            f"{file}: cannot be read ({type(error).__name__}: {error}). Expected the file as "
            "ImageNet's development kit has it, or a val.txt of UTF-8 text. Download "
            "ILSVRC2012_devkit_t12.tar.gz again."
        ) from error


def _bytes(path: Path) -> bytes:
    with accessing(path), open_regular(path) as file:
        return file.read()


def _train(archive: Path, files: ExitStack) -> Iterable[Photograph]:
    """A tar with one tar for each class: only headers are read, by several threads at once."""
    file = files.enter_context(archive.open("rb"))
    with archives.reading(archive):
        tars = [tar for tar in archives.tar_headers(file) if tar.name.endswith(".tar")]

    def photographs(tar: tarfile.TarInfo) -> list[Photograph]:
        wordnet_id = Path(tar.name).stem
        with error_context(f"{archive}: {tar.name}"):
            label = labels.index(wordnet_id)
        # Opened again: threads that shared an open file would move each other's position.
        with archives.reading(archive), archive.open("rb") as reader:
            reader.seek(tar.offset_data)
            return [
                Photograph(
                    portable(f"train/{wordnet_id}/{Path(member.name).name}"),
                    label,
                    file,
                    member.offset_data,
                    member.size,
                )
                for member in archives.tar_headers(reader)
                if is_image(member.name)
            ]

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        listings = pool.map(photographs, tars)
        for class_photographs in progress(listings, "classes of the training archive", len(tars)):
            yield from class_photographs
