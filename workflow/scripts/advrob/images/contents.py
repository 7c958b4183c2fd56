"""What is in the photographs behind a root, in one short value; PyTorch is not needed for it."""

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

# Bytes of photographs that are read. Of more, such as all of ImageNet, sizes and times must do.
_MOST = 4 * 10**9

_BLOCK = 2**20


def fingerprint(
    root: str | None, settings: Mapping[str, Any], cache: str | Path | None = None
) -> str:
    """A value that is the same as long as the files are that photographs and labels come from.

    It does not depend on where they are, nor on how the path there is spelt: names below the root
    count, and what is in the files. Where these are more than 4 GB, sizes and times of change stand
    for the contents of all but tables. Nothing is refused: what is not there, or cannot be read,
    has a fingerprint, too.

    Args:
        root: the configured ``images_root``.
        settings: the configuration's ``images``: ``layout``, ``test`` and ``fit``.
        cache: a file that keeps the last value; while names, sizes and times are those of then, no
            file is read.

    Returns:
        32 hexadecimal digits.
    """
    paths = dict(_files(root, settings))
    files = {name: (path, _status(path)) for name, path in paths.items()}
    listed = sorted(files.items())
    # No edit leaves the time of a file's last change, whatever it makes of the others.
    state = _digest((name, str(status)) for name, (_, status) in listed)
    if cache is not None and (known := _kept(cache, state)):
        return known
    whole = sum(status[0] for _, status in files.values() if status) <= _MOST
    found = _digest(
        (
            name,
            _content(path)
            if whole or not (is_image(name) or is_archive(path))
            else str(status and status[:2]),
        )
        for name, (path, status) in listed
    )
    if cache is not None:
        _keep(cache, state, found)
    return found


def _files(root: str | None, settings: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """Names and paths of all files that either part may come from."""
    tables = [settings[part].get("table") for part in ("test", "fit")]
    for part, samples in (("test", LABELLED), ("fit", SAMPLES)):
        draw, layout = Draw(**settings[part]), settings["layout"]
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
    seen = set()
    for place, inside, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            inside.clear()
            continue
        seen.add(real)
        inside[:] = [each for each in inside if not is_litter(each)]
        here = posixpath.join(name, os.path.relpath(place, folder))
        for file in filter(is_image, names):
            yield posixpath.normpath(posixpath.join(here, file)), Path(place, file)


def _tabled(folder: Path, table: str) -> Iterator[tuple[str, Path]]:
    path = folder / table
    yield f"table {Path(table).name}", path
    # What is wrong with a table is said by the job that draws from it.
    with suppress(UserError, OSError):
        yield from ((posixpath.normpath(name), folder / name) for name, _, _ in rows(path))


def _status(path: Path) -> tuple[int, ...] | None:
    """Size and times of change of a file's content and of the file; None where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


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


def _kept(cache: str | Path, state: str) -> str | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(Path(cache).read_text(encoding="utf-8"))
        return str(kept["contents"]) if kept["state"] == state else None
    return None


def _keep(cache: str | Path, state: str, found: str) -> None:
    # A value that is not kept is found again.
    with suppress(OSError):
        Path(cache).parent.mkdir(parents=True, exist_ok=True)
        Path(cache).write_text(json.dumps({"state": state, "contents": found}), encoding="utf-8")
