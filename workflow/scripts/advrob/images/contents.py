"""A fingerprint of the photographs below a root; PyTorch is not needed for it."""

import hashlib
import json
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from advrob.errors import UserError
from advrob.images.archives import is_archive
from advrob.images.packages import LABELLED, SAMPLES
from advrob.images.packages import files as packaged
from advrob.images.photographs import Draw, is_image, is_litter, open_regular
from advrob.images.tables import rows

# Photographs of more bytes than this in all, such as ImageNet's, are not read: their sizes and
# times of change stand for their contents.
_READ_LIMIT = 4 * 10**9

_BLOCK = 2**20


def fingerprint(
    root: str | None, image_options: Mapping[str, Any], cache: str | Path | None = None
) -> str:
    """A value that is the same as long as the files are that photographs and labels come from.

    It does not depend on where they are, nor on how the path there is spelt: names below the root
    count, and what is in the files. Where these are more than 4 GB, sizes and times of change stand
    for the contents of all but tables. Nothing is refused: what is not there, or cannot be read,
    has a fingerprint, too.

    Args:
        root: the configured ``images_root``.
        image_options: the configuration's ``images``: ``layout``, ``test`` and ``fit``.
        cache: a file that holds the last value; while names, sizes and times have not changed, no
            photograph is read.

    Returns:
        32 hexadecimal digits.
    """
    paths = dict(_files(root, image_options))
    files = {name: (path, _status(path)) for name, path in paths.items()}
    ordered = sorted(files.items())
    # Every edit moves the time of the last change of a file's status; other times can be set back.
    state = _digest((name, str(status)) for name, (_, status) in ordered)
    if cache is not None and (cached := _read_cache(cache, state)):
        return cached
    read_all = sum(status[0] for _, status in files.values() if status) <= _READ_LIMIT
    contents = _digest(
        (
            name,
            _content(path)
            if read_all or not (is_image(name) or is_archive(path))
            else str(status and status[:2]),
        )
        for name, (path, status) in ordered
    )
    if cache is not None:
        _write_cache(cache, state, contents)
    return contents


def _files(root: str | None, image_options: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """Names and paths of all files that either part may come from."""
    tables = [image_options[part].get("table") for part in ("test", "fit")]
    for part, samples in (("test", LABELLED), ("fit", SAMPLES)):
        draw, layout = Draw(**image_options[part]), image_options["layout"]
        if layout == "packages":
            for entry in draw.packages or samples:
                with suppress(UserError):
                    yield from ((name, path) for path, name in packaged(entry))
        if not root or "\0" in root:
            continue
        path = Path(root)
        if draw.folder:
            yield from _below(path / draw.folder, posixpath.normpath(draw.folder))
        if layout == "tree" and is_archive(path):
            yield "", path
        elif layout == "tree":
            for split in map(posixpath.normpath, draw.splits):
                yield from _below(path / split, split)
        elif layout == "imagenet":
            yield from _below(path / "val", "val")
            for pattern in ("ILSVRC2012_*", "val.txt", "meta.mat"):
                yield from ((file.name, file) for file in path.glob(pattern))
        elif layout == "table":
            for table in filter(None, tables):
                yield from _tabled(path, table)


def _below(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Photographs in a folder and in those below it; links to folders are followed."""
    visited = set()
    for directory, subfolders, file_names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(directory)) in visited:
            subfolders.clear()
            continue
        visited.add(real)
        subfolders[:] = [subfolder for subfolder in subfolders if not is_litter(subfolder)]
        prefix = posixpath.join(name, os.path.relpath(directory, folder))
        for file in filter(is_image, file_names):
            yield posixpath.normpath(posixpath.join(prefix, file)), Path(directory, file)


def _tabled(folder: Path, table: str) -> Iterator[tuple[str, Path]]:
    path = folder / table
    yield f"table {Path(table).name}", path
    # The job that draws from a table reports what is wrong with it.
    with suppress(UserError, OSError):
        yield from ((posixpath.normpath(name), folder / name) for name, _, _ in rows(path))


def _status(path: Path) -> tuple[int, ...] | None:
    """Size and times of change of a file's content and of the file; None where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _content(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open_regular(path) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return "cannot be read"
    return digest.hexdigest()


def _digest(pairs: Iterable[tuple[str, str]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for pair in pairs:
        digest.update("\0".join((*pair, "")).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _read_cache(cache: str | Path, state: str) -> str | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        saved = json.loads(Path(cache).read_text(encoding="utf-8"))
        return str(saved["contents"]) if saved["state"] == state else None
    return None


def _write_cache(cache: str | Path, state: str, contents: str) -> None:
    # Without the cache the value is computed again.
    with suppress(OSError):
        Path(cache).parent.mkdir(parents=True, exist_ok=True)
        Path(cache).write_text(json.dumps({"state": state, "contents": contents}), encoding="utf-8")
