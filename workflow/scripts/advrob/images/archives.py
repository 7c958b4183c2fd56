"""Members of archives, read in place: nothing is unpacked and no link is followed.

Members of a plain tar are read at their offsets. A compressed archive cannot be read at random, so
what is wanted of it is first copied, in one pass, into an unnamed temporary file (in ``TMPDIR``).
"""

import contextlib
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from advrob.errors import UserError

_DAMAGES = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    NotImplementedError,  # a compression that Python does not know
)

# The bit of a zip's flags that says so of a member.
_ENCRYPTED = 1

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in an archive: ``size`` bytes from ``offset`` on in an open file."""

    name: str
    file: IO[bytes]
    offset: int
    size: int


def is_archive(path: Path) -> bool:
    """Whether the path is a file with the name of an archive."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def members(
    path: Path, wanted: Callable[[str], object], files: contextlib.ExitStack
) -> Iterator[Member]:
    """The regular files in an archive whose name is wanted, in the archive's order.

    Args:
        path: a .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz or .zip.
        wanted: decides from a member's name.
        files: keeps open what the members are read from.

    Raises:
        UserError: the archive is truncated or damaged, or the temporary folder is full.
    """
    name = path.name.lower()
    with reading(path):
        if name.endswith(".tar"):
            file = files.enter_context(path.open("rb"))
            for member in tar_headers(file):
                if wanted(member.name):
                    yield Member(member.name, file, member.offset_data, member.size)
            return
        copies = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        for member_name, content in _zip(path) if name.endswith(".zip") else _stream(path):
            if wanted(member_name):
                offset = copies.tell()
                shutil.copyfileobj(content, copies)
                copies.flush()
                yield Member(member_name, copies, offset, copies.tell() - offset)


def tar_headers(file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """Headers of the regular files in a plain tar that begins where ``file`` stands."""
    with tarfile.open(fileobj=file, mode="r:") as tar:
        yield from filter(_is_regular, tar)


def read(path: Path, ending: str) -> bytes | None:
    """The bytes of the first member whose name ends so; None where there is none."""
    with contextlib.ExitStack() as files:
        for member in members(path, lambda name: name.endswith(ending), files):
            member.file.seek(member.offset)
            return member.file.read(member.size)
    return None


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a damaged archive raises into a `UserError` that names it."""
    try:
        yield
    except _DAMAGES as error:
        raise UserError(
            f"{path}: cannot be read to its end ({error}). Expected a whole archive and, where it "
            f"is compressed, room for its images in {tempfile.gettempdir()}. Compare its size or "
            "checksum with the source and download it again, or name another TMPDIR."
        ) from error


def _is_regular(member: tarfile.TarInfo) -> bool:
    return member.isreg() and not member.issparse()


def _stream(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(path, "r|*") as tar:
        for member in filter(_is_regular, tar):
            content = tar.extractfile(member)
            if content is not None:
                yield member.name, content


def _zip(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.flag_bits & _ENCRYPTED:
                raise UserError(
                    f"{path}: '{member.filename}' is encrypted. Expected an archive without a "
                    "password. Unpack it, and name the folder in images_root."
                )
            if not (member.is_dir() or stat.S_ISLNK(member.external_attr >> 16)):
                with archive.open(member) as content:
                    yield member.filename, content
