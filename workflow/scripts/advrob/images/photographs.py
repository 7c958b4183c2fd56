"""A photograph before decoding, and what all layouts of photographs share."""

import errno
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from advrob.errors import UserError

SUFFIXES = (
    ".jpeg",
    ".jpg",
    ".jpe",
    ".jfif",
    ".png",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
)

# A file of more bytes holds more than one photograph, or would need gigabytes to decode.
LARGEST = 400 * 10**6

# Folders that other systems leave beside photographs: macOS, Synology, ext4.
_LITTER = ("__MACOSX", "@eaDir", "lost+found")

# What an operating system says of a name without a file behind it: the file is missing or wrong.
# Other errors (no permission, no answer, no memory) come from the machine.
_MISSING = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EISDIR,
    errno.EINVAL,
    errno.ENXIO,
}

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
}


class BrokenError(UserError):
    """A photograph that is wrong on every machine: ``images.broken: skip`` leaves it out."""


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
            BrokenError: there is no such file, or it is not a regular file.
            UserError: the file cannot be read on this machine, or is too large for a photograph.
        """
        if self.size > LARGEST:
            raise UserError(
                f"{self.id}: has {self.size:,} bytes. Expected a photograph of at most "
                f"{LARGEST:,}. Save it smaller, or remove it."
            )
        if not isinstance(self.file, str):
            return os.pread(self.file.fileno(), self.length, self.offset)
        try:
            with open_regular(self.file) as file:
                return file.read()
        except OSError as error:
            reason = f"{self.id}: cannot be read ({error.strerror or error})."
            if error.errno in _MISSING:
                raise BrokenError(
                    f"{reason} Restore the file, or leave such files out with images.broken: skip."
                ) from error
            raise UserError(f"{reason} {remedy(error)}") from error

    @property
    def size(self) -> int:
        """Number of bytes, as `read` would find them; 0 where no file can be found."""
        if isinstance(self.file, str):
            with suppress(OSError):
                return Path(self.file).stat().st_size
            return 0
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
        folder: for photographs without labels, in any layout: a folder with them, however deep.
    """

    per_class: int | None = None
    total: int | None = None
    splits: Sequence[str] = ("val",)
    prefer: Sequence[str] = ()
    crops: int = 1
    packages: Sequence[Mapping[str, Any]] = ()
    table: str | None = None
    folder: str | None = None


# Photographs by label; the list of a class without photographs is empty.
Classes = Mapping[int, list[Photograph]]


def by_label(photographs: Iterable[Photograph]) -> Classes:
    """Photographs by their labels, in their order."""
    classes: dict[int, list[Photograph]] = {}
    for photograph in photographs:
        classes.setdefault(photograph.label, []).append(photograph)
    return classes


def enter(by_id: dict[str, Photograph], name: str, label: int, path: str | Path) -> int:
    """Add a file to photographs by their ids, if its name is not there already.

    Returns:
        The label of the photograph of that name: another one if it was there with another.
    """
    photograph = Photograph(portable(name), label, str(path))
    return by_id.setdefault(photograph.id, photograph).label


def is_image(name: str) -> bool:
    """Whether a file's name or path is that of an image; hidden files do not count."""
    return name.lower().endswith(SUFFIXES) and not name.rpartition("/")[2].startswith(".")


def is_litter(name: str) -> bool:
    """Whether a folder is hidden, or one that a system leaves beside photographs."""
    return name.startswith(".") or name in _LITTER


def portable(name: str) -> str:
    """A file's name as part of an id: valid UTF-8, and without the # that marks a crop.

    ``./a.jpg`` and ``b/../a.jpg`` are called ``a.jpg``.
    """
    return printable(posixpath.normpath(name).replace("#", "%23"))


def printable(text: str) -> str:
    """A text in which the bytes of a path that are NUL or not UTF-8 are written out."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


@contextmanager
def error_context(location: object) -> Iterator[None]:
    """Put the location before a `UserError` of the block, which knows no files."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{location}: {error}") from error


@contextmanager
def accessing(path: object) -> Iterator[None]:
    """Turn what the operating system says about a path into a `UserError` that names it."""
    try:
        yield
    except OSError as error:
        name = path if error.filename is None else error.filename
        raise UserError(
            f"{name}: cannot be read ({error.strerror or error}). {remedy(error)}"
        ) from error


def remedy(error: OSError) -> str:
    """What to do about a path that an operating system refuses to read."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            "It is there, but closed to you. Ask its owner for permission to read it and to enter "
            "the folders above it (chmod -R a+rX), or name a copy."
        )
    return "Correct the name, or see whether the disk or the server behind it still answers."


def open_regular(path: str | Path) -> IO[bytes]:
    """Open a file to read; a named pipe, say, is refused, since reading it may never end.

    Raises:
        OSError: there is no such file, it is no regular one, or it cannot be read.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "no name of a file has a NUL", str(path))
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = _KINDS.get(stat.S_IFMT(mode), "no file")
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, f"it is {kind}, expected a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def required(path: Path, expected: str) -> Path:
    """A path behind which there is a regular file that can be read.

    Args:
        path: where it should be.
        expected: what should be there, and what to do if it is not: whole sentences.

    Raises:
        UserError: there is no such file, it is no regular one, or it cannot be read.
    """
    try:
        open_regular(path).close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{path}: no such file. {expected}") from error
    except OSError as error:
        advice = expected if error.errno in _MISSING else remedy(error)
        raise UserError(f"{path}: cannot be read ({error.strerror}). {advice}") from error
    return path


def entries(folder: Path) -> list[Path]:
    """What is in a folder, except hidden entries, in no particular order.

    Raises:
        UserError: the folder cannot be read.
    """
    with accessing(folder):
        return [path for path in folder.iterdir() if not path.name.startswith(".")]


def folders(folder: Path) -> list[Path]:
    """The folders in a folder that may hold photographs."""
    with accessing(folder):
        return [path for path in entries(folder) if not is_litter(path.name) and path.is_dir()]


def existing(root: str | None, expected: str) -> Path:
    """The configured ``images_root`` as a path.

    Args:
        root: what is configured.
        expected: what should be there.

    Raises:
        UserError: it is not set, does not exist, is empty, or is neither a folder nor a file.
    """
    if not root:
        raise UserError(
            f"images_root: is not set. Expected {expected}. Set it in the configuration, or on the "
            "command line with: --config images_root=/path"
        )
    path = Path(root)
    state = None
    with accessing(path):
        if not path.exists():
            state = "does not exist"
        elif path.is_dir():
            state = None if any(path.iterdir()) else "is empty"
        elif not path.is_file():
            state = f"is {_KINDS.get(stat.S_IFMT(path.stat().st_mode), 'no file')}"
    if state:
        raise UserError(
            f"images_root: {path} {state}. Expected {expected}. Correct the path in the "
            "configuration, or on the command line with: --config images_root=/path"
        )
    return path


def no_split(path: Path, split: str, available: Iterable[str]) -> UserError:
    """The error of a split that is configured but not available."""
    return UserError(
        f"{path}: has no split '{split}'; found {listing(available)}. Correct splits under "
        "images.test or images.fit, or images_root."
    )


def listing(names: Iterable[str]) -> str:
    """Names for a message, in order, and not too many of them."""
    return ", ".join(sorted(names)[:20]) or "none"
