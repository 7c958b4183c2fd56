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
from advrob.images.decode import is_image
from advrob.images.photographs import (
    Classes,
    Draw,
    Photograph,
    at,
    existing,
    no_split,
    portable,
)
from advrob.job.progress import progress


def imagenet(root: str | None, draw: Draw, files: ExitStack) -> Classes:
    """ILSVRC2012 as downloaded: tars of the validation and the training images."""
    path = existing(root, "the folder with ILSVRC2012_img_val.tar or ILSVRC2012_img_train.tar")
    splits = {"val": _val, "train": _train}
    classes = defaultdict(list)
    for split in draw.splits:
        if split not in splits:
            raise no_split(path, split, splits)
        archive = path / f"ILSVRC2012_img_{split}.tar"
        if not archive.is_file():
            raise UserError(
                f"{archive}: no such file. Expected the archive of ImageNet's {split} images as it "
                f"is downloaded. Put it into {path}, or use images.layout: tree for unpacked ones."
            )
        for photograph in splits[split](archive, files):
            classes[photograph.label].append(photograph)
    return classes


def _val(archive: Path, files: ExitStack) -> Iterable[Photograph]:
    truth = _ground_truth(archive.parent)
    wordnet_ids = labels.wordnet_ids()
    for member in archives.members(archive, is_image, files):
        name = Path(member.name).name
        stem = Path(name).stem
        if stem not in truth:
            raise UserError(
                f"{archive}: the ground truth has no entry for '{member.name}'. Expected the "
                "validation images and the ground truth of one release, ILSVRC2012."
            )
        place = portable(f"val/{wordnet_ids[truth[stem]]}/{name}")
        yield Photograph(place, truth[stem], member.file, member.offset, member.size)


def _ground_truth(folder: Path) -> dict[str, int]:
    """The class of each validation image by its name without suffix."""
    listing = folder / "val.txt"
    if listing.is_file():
        truths = {}
        with _parsing(listing):
            lines = listing.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, start=1):
            if fields := line.split():
                with at(f"{listing}, line {number}"):
                    truths[Path(fields[0]).stem] = labels.parse(fields[-1])
        return truths
    parts = ("ILSVRC2012_validation_ground_truth.txt", "meta.mat")
    kit = folder / "ILSVRC2012_devkit_t12.tar.gz"
    if kit.is_file():
        truth, meta = (archives.read(kit, f"data/{part}") for part in parts)
    else:
        truth, meta = (
            (folder / part).read_bytes() if (folder / part).is_file() else None for part in parts
        )
    if truth is None or meta is None:
        raise UserError(
            f"{folder}: no ground truth of ImageNet's validation images. Expected "
            f"ILSVRC2012_devkit_t12.tar.gz, or its files {' and '.join(parts)}, or a val.txt with "
            "a file name and a class in each line. Put one of them beside the archive."
        )
    source = kit if kit.is_file() else folder
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
    """Say of a damaged file of ground truth which one it is."""
    try:
        yield
    except Exception as error:  # SciPy's reader raises whatever its parsing trips over
        raise UserError(
            f"{file}: cannot be read ({type(error).__name__}: {error}). Expected the file as "
            "ImageNet's development kit has it, or a val.txt of UTF-8 text. Download "
            "ILSVRC2012_devkit_t12.tar.gz again."
        ) from error


def _train(archive: Path, files: ExitStack) -> Iterable[Photograph]:
    """A tar of one tar for each class: only headers are read, by several threads at once."""
    file = files.enter_context(archive.open("rb"))
    with archives.reading(archive):
        tars = [tar for tar in archives.tar_headers(file) if tar.name.endswith(".tar")]

    def photographs(tar: tarfile.TarInfo) -> list[Photograph]:
        wordnet_id = Path(tar.name).stem
        with at(f"{archive}: {tar.name}"):
            label = labels.index(wordnet_id)
        # A position of its own: threads that share an open file would move each other's.
        with archives.reading(archive), archive.open("rb") as own:
            own.seek(tar.offset_data)
            return [
                Photograph(
                    portable(f"train/{wordnet_id}/{Path(member.name).name}"),
                    label,
                    file,
                    member.offset_data,
                    member.size,
                )
                for member in archives.tar_headers(own)
                if is_image(member.name)
            ]

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        listed = pool.map(photographs, tars)
        for found in progress(listed, "classes of the training archive", len(tars)):
            yield from found
