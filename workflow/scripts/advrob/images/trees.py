"""Trees: a folder for each split, and in it one for each class; in a folder or an archive."""

import os
import posixpath
from collections import defaultdict
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from advrob.errors import UserError
from advrob.images import archives, labels
from advrob.images.photographs import (
    Classes,
    Draw,
    Photograph,
    entries,
    error_context,
    existing,
    folders,
    is_image,
    is_litter,
    no_split,
    portable,
)


def tree(root: str | None, draw: Draw, files: ExitStack) -> Classes:
    """``<split>/<class>/<file>`` in a folder or at the end of an archive's names.

    A class is called by its WordNet id, its name or its index. Photographs of a split without a
    folder for any class have no label.
    """
    path = existing(root, "a folder or an archive with <split>/<class>/<file>")
    splits = list(dict.fromkeys(map(posixpath.normpath, draw.splits)))
    if archives.is_archive(path):
        return _in_archive(path, splits, files)
    if not path.is_dir():
        raise UserError(
            f"{path}: is neither a folder nor an archive. Expected one with <split>/<class>/<file>."
            f" Archives end in {', '.join(archives.SUFFIXES)}. Correct images_root."
        )
    classes: dict[int, list[Photograph]] = defaultdict(list)
    for split in splits:
        folder = path / split
        if not folder.is_dir():
            raise no_split(path, split, (subfolder.name for subfolder in folders(path)))
        of_classes = folders(folder)
        for class_folder in of_classes:
            with error_context(class_folder):
                label = labels.parse(class_folder.name)
            classes[label] += _in_folder(class_folder, f"{split}/{class_folder.name}", label)
        if not of_classes:
            classes[labels.UNLABELLED] += _in_folder(folder, split, labels.UNLABELLED)
    return {
        label: photographs for label, photographs in classes.items() if photographs or label >= 0
    }


def _in_folder(folder: Path, name: str, label: int) -> list[Photograph]:
    return [
        Photograph(portable(f"{name}/{file.name}"), label, str(file))
        for file in entries(folder)
        if is_image(file.name)
    ]


def _in_archive(path: Path, splits: list[str], files: ExitStack) -> Classes:
    by_id: dict[str, Photograph] = {}
    present, flat = set(), set()
    parse = cache(labels.parse)

    def in_split(name: str) -> bool:
        parts = name.split("/")
        if parts[0] == "" or ".." in parts or not is_image(parts[-1]):
            return False
        flat.update(parts[-2:-1])
        if len(parts) < 3 or any(map(is_litter, parts[-3:-1])):
            return False
        present.add(parts[-3])
        return parts[-3] in splits

    for member in archives.members(path, in_split, files):
        split, folder, name = member.name.split("/")[-3:]
        with error_context(f"{path}: {member.name}"):
            label = parse(folder)
        identifier = portable(f"{split}/{folder}/{name}")
        # Where a name appears again, the last one counts, as if the archive were unpacked.
        by_id[identifier] = Photograph(identifier, label, member.file, member.offset, member.size)
    for split in splits:
        if split in present:
            continue
        if split in flat:
            raise UserError(
                f"{path}: has photographs in '{split}', but no folders of classes. Expected "
                f"{split}/<class>/<file>. Unpack it and list the labels in a table (images.layout: "
                "table)."
            )
        raise no_split(path, split, present)
    classes = defaultdict(list)
    for photograph in by_id.values():
        classes[photograph.label].append(photograph)
    return classes


def unlabelled(root: str | None, draw: Draw) -> Classes:
    """All photographs below the draw's ``folder``, which have no labels.

    Raises:
        UserError: the folder is not there, or cannot be read.
    """
    path = existing(root, "the folder of photographs")
    top = path / (draw.folder or "")
    if not top.is_dir():
        raise UserError(
            f"{top}: is not a folder. Expected one with photographs to learn from, named relative "
            "to images_root. Correct images.fit.folder."
        )
    photographs = []
    visited = set()
    pending = [top]
    while pending:
        folder = pending.pop()
        # A link to a folder above would otherwise be followed without end.
        if (real := os.path.realpath(folder)) in visited:
            continue
        visited.add(real)
        pending += folders(folder)
        name = posixpath.join(draw.folder or "", folder.relative_to(top).as_posix())
        photographs += _in_folder(folder, name, labels.UNLABELLED)
    return {labels.UNLABELLED: photographs}
