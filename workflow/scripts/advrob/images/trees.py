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
    at,
    entries,
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
            raise no_split(path, split, (inside.name for inside in folders(path)))
        of_classes = folders(folder)
        for class_folder in of_classes:
            with at(class_folder):
                label = labels.parse(class_folder.name)
            classes[label] += _in_folder(class_folder, f"{split}/{class_folder.name}", label)
        if not of_classes:
            classes[labels.UNLABELLED] += _in_folder(folder, split, labels.UNLABELLED)
    return {label: found for label, found in classes.items() if found or label >= 0}


def _in_folder(folder: Path, name: str, label: int) -> list[Photograph]:
    return [
        Photograph(portable(f"{name}/{file.name}"), label, str(file))
        for file in entries(folder)
        if is_image(file.name)
    ]


def _in_archive(path: Path, splits: list[str], files: ExitStack) -> Classes:
    found: dict[str, Photograph] = {}
    seen, flat = set(), set()
    parse = cache(labels.parse)

    def wanted(name: str) -> bool:
        parts = name.split("/")
        if parts[0] == "" or ".." in parts or not is_image(parts[-1]):
            return False
        flat.update(parts[-2:-1])
        if len(parts) < 3 or any(map(is_litter, parts[-3:-1])):
            return False
        seen.add(parts[-3])
        return parts[-3] in splits

    for member in archives.members(path, wanted, files):
        split, folder, name = member.name.split("/")[-3:]
        with at(f"{path}: {member.name}"):
            label = parse(folder)
        place = portable(f"{split}/{folder}/{name}")
        # Of a name that comes again, the last counts, as it would if the archive were unpacked.
        found[place] = Photograph(place, label, member.file, member.offset, member.size)
    for split in splits:
        if split in seen:
            continue
        if split in flat:
            raise UserError(
                f"{path}: has photographs in '{split}', but no folders of classes. Expected "
                f"{split}/<class>/<file>. Unpack it and list the labels in a table (images.layout: "
                "table)."
            )
        raise no_split(path, split, seen)
    classes = defaultdict(list)
    for photograph in found.values():
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
            f"{top}: is no folder. Expected one with photographs to learn from, named relative to "
            "images_root. Correct images.fit.folder."
        )
    found = []
    seen = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        # A link to a folder above would be followed without end.
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        waiting += folders(folder)
        name = posixpath.join(draw.folder or "", folder.relative_to(top).as_posix())
        found += _in_folder(folder, name, labels.UNLABELLED)
    return {labels.UNLABELLED: found}
