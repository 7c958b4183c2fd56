"""A photograph before decoding, and what all layouts of photographs share."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from advrob.errors import UserError


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph before decoding.

    Attributes:
        id: names it the same on every machine: no absolute path is part of it.
        label: its class, or `advrob.images.labels.UNLABELLED`.
        file: a path, or the open file that holds its bytes at ``offset``.
        offset: where its bytes begin, in an open file.
        length: how many they are, in an open file.
    """

    id: str
    label: int
    file: str | IO[bytes]
    offset: int = 0
    length: int = 0

    def read(self) -> bytes:
        """The photograph's bytes; several threads may read at once.

        Raises:
            OSError: there is no such file, or it cannot be read.
        """
        if isinstance(self.file, str):
            return Path(self.file).read_bytes()
        return os.pread(self.file.fileno(), self.length, self.offset)

    @property
    def size(self) -> int:
        """Number of bytes, as `read` would find them; 0 where there is no such file."""
        if isinstance(self.file, str):
            return Path(self.file).stat().st_size if Path(self.file).exists() else 0
        return self.length


@dataclass(frozen=True)
class Draw:
    """Which photographs one part of the subset takes; the configuration's ``test`` and ``fit``.

    Attributes:
        per_class: photographs of each class.
        total: photographs over all classes, spread evenly; with neither, all are taken.
        splits: folders of a tree, or ``val`` and ``train`` of ImageNet.
        prefer: patterns, each drawn before the next and all before what fits none: of file names,
            or of ids (``<split>/<class>/<file>``).
        crops: images cut from each photograph.
        packages: for the packages: ``package``, ``files`` (one pattern or several) and ``label``
            (a regular expression on the file name whose group is the class).
        table: for a table: a CSV file with the columns ``file`` and ``label``.
    """

    per_class: int | None = None
    total: int | None = None
    splits: Sequence[str] = ("val",)
    prefer: Sequence[str] = ()
    crops: int = 1
    packages: Sequence[Mapping[str, Any]] = ()
    table: str | None = None


# Photographs by label. A class that is there without a photograph is an empty list.
Classes = Mapping[int, list[Photograph]]


def portable(name: str) -> str:
    """A file's name as part of an id: valid UTF-8, and without the # that marks a crop."""
    return name.replace("#", "%23").encode("utf-8", "backslashreplace").decode()


@contextmanager
def at(where: object) -> Iterator[None]:
    """Say in a `UserError` of the block, which knows no files, where it was met."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def existing(root: str | None, expected: str) -> Path:
    """The configured ``images_root`` as a path.

    Args:
        root: what is configured.
        expected: what should be there.

    Raises:
        UserError: it is not set, does not exist or is empty.
    """
    if not root:
        raise UserError(
            f"images_root: is not set. Expected {expected}. Set it in the configuration, or on the "
            "command line with: --config images_root=/path"
        )
    path = Path(root)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        state = "is empty" if path.exists() else "does not exist"
        raise UserError(
            f"images_root: {path} {state}. Expected {expected}. Correct the path in the "
            "configuration, or on the command line with: --config images_root=/path"
        )
    return path


def no_split(path: Path, split: str, found: Iterable[str]) -> UserError:
    """The error of a split that is asked for but not among those found."""
    return UserError(
        f"{path}: has no split '{split}'; found {listing(found)}. Correct splits under images.test "
        "or images.fit, or images_root."
    )


def listing(names: Iterable[str]) -> str:
    """Names for a message, in order, and not too many of them."""
    return ", ".join(sorted(names)[:20]) or "none"
