"""Where photographs come from: packages, folders and archives by class, ImageNet, a table.

Each layout lists its photographs by class without decoding one. Adding a layout is one function
and one entry in `LAYOUTS`.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from advrob.errors import UserError
from advrob.images.imagenet import imagenet
from advrob.images.packages import packages
from advrob.images.photographs import SUFFIXES, Classes, Draw, listing
from advrob.images.tables import table
from advrob.images.trees import tree, unlabelled


def find(layout: str, root: str | None, draw: Draw, files: ExitStack) -> Classes:
    """All photographs that a draw may take, by class, each once, in no particular order.

    Args:
        layout: a key of `LAYOUTS`.
        root: the configured ``images_root``.
        draw: says which splits, packages, table or folder.
        files: keeps open the archives that the photographs are read from.

    Raises:
        UserError: the layout or the root does not fit what is there, or nothing is found.
    """
    if layout not in LAYOUTS:
        raise UserError(
            f"images.layout: '{layout}' is unknown. Expected one of {listing(LAYOUTS)}."
        )
    classes = unlabelled(root, draw) if draw.folder else LAYOUTS[layout](root, draw, files)
    if not any(classes.values()):
        where = Path(root or "", draw.folder) if draw.folder else root or "images"
        if layout == "table" and not draw.folder:
            raise UserError(
                f"{Path(where, draw.table or '')}: lists no photograph. Expected a file and a "
                "label in each line below the columns' names."
            )
        looked = "this folder" if draw.folder else f"layout {layout}"
        raise UserError(
            f"{where}: found no photograph in {looked}. Expected files that end "
            f"in {', '.join(SUFFIXES)}. Correct images_root, images.layout or the names below "
            "images.test and images.fit."
        )
    return classes


def source(layout: str, root: str | None, draw: Draw) -> str:
    """Where the photographs are from, in words that are the same on every machine."""
    if draw.folder:
        return f"folder {Path(os.path.realpath(Path(root or '', draw.folder))).name}"
    if layout == "packages":
        return "packages " + ", ".join(entry["package"] for entry in draw.packages)
    detail = draw.table if layout == "table" else f"split {' and '.join(draw.splits)}"
    # The folder's own name, not that of a link to it.
    return f"{layout} {Path(os.path.realpath(root or '')).name}, {detail}"


LAYOUTS: dict[str, Callable[[str | None, Draw, ExitStack], Classes]] = {
    "packages": lambda root, draw, files: packages(draw),
    "tree": tree,
    "imagenet": imagenet,
    "table": lambda root, draw, files: table(root, draw),
}
