"""Members of archives, read in place: nothing is unpacked and no link is followed.

Members of a plain tar are read at their offsets. A compressed archive cannot be read at random, so
the members to read are first copied, in one pass, into an unnamed temporary file (in ``TMPDIR``).
"""

import contextlib
import hashlib
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from advrob.errors import UserError
from advrob.images.photographs import LARGEST, open_regular, remedy

# Bytes of a tar's header that follows its first block: long names and such. Python reads them into
# memory whatever length the first block claims.
_LONGEST_HEADER = 2**20

_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)

_BLOCK = 2**20

# The bit of a zip member's flags that marks it as encrypted.
_ENCRYPTED = 1

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in an archive: ``size`` bytes from ``offset`` on in an open file."""

    name: str
    file: IO[bytes]
    offset: int
    size: int


class _Header(tarfile.TarInfo):
    """A tar's header that is whole or an error.

    Python takes a damaged header, but for the first, for the archive's end.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Parse the first block of a member."""
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf.strip(b"\0"):
                raise tarfile.ReadError(f"a damaged header: {error}") from error
            raise  # nothing or zeros: the end
        if header.type in _HEADERS and header.size > _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header


def verify(path: str | Path, sha256: str) -> None:
    """Compare an archive with its checksum: it may have been put there by hand.

    Args:
        path: the archive.
        sha256: the configured checksum, in hexadecimal digits.

    Raises:
        UserError: the checksum differs, or the archive cannot be read.
    """
    try:
        with open_regular(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}). {remedy(error)}"
        ) from error
    if digest != sha256.lower():
        raise UserError(
            f"{path}: has the SHA-256 {digest}, expected {sha256} (images.archive.sha256). It is "
            "truncated or another archive. Delete it, so that it is downloaded again, or replace "
            "it."
        )


def is_archive(path: Path) -> bool:
    """Whether the path is a file with the name of an archive."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def members(
    path: Path, matches: Callable[[str], object], files: contextlib.ExitStack
) -> Iterator[Member]:
    """The regular files in an archive whose names match, in the archive's order.

    A name that appears again is a newer version of the file.

    Args:
        path: a .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz or .zip.
        matches: whether to include a member, given its name.
        files: keeps open what the members are read from.

    Raises:
        UserError: the archive is truncated or damaged, or the temporary folder is full.
    """
    name = path.name.lower()
    with reading(path):
        if name.endswith(".tar"):
            file = files.enter_context(path.open("rb"))
            for member in tar_headers(file):
                if matches(member.name):
                    yield Member(member.name, file, member.offset_data, member.size)
            return
        copies = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        for member_name, content in _zip(path) if name.endswith(".zip") else _stream(path):
            if matches(member_name):
                offset = copies.tell()
                # One byte more than a photograph may have, so that reading it says so.
                _copy(content, copies, LARGEST + 1)
                copies.flush()
                yield Member(member_name, copies, offset, copies.tell() - offset)


def tar_headers(file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """Headers of the regular files in a plain tar that begins where ``file`` stands."""
    with tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as tar:
        yield from filter(_is_regular, tar)


def read(path: Path, ending: str) -> bytes | None:
    """The bytes of the first member whose name has this ending; None where there is none."""
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
    except (UserError, MemoryError):
        raise
    except Exception as error:  # Python's readers raise whatever their parsing trips over
        raise UserError(
            f"{path}: cannot be read to its end ({error}). Expected a complete archive and, if it "
            f"is compressed, room for its images in {tempfile.gettempdir()}. Compare its size or "
            "checksum with the source and download it again, or name another TMPDIR."
        ) from error


def _copy(source: IO[bytes], target: IO[bytes], limit: int) -> None:
    while limit > 0 and (block := source.read(min(limit, _BLOCK))):
        target.write(block)
        limit -= len(block)


def _is_regular(member: tarfile.TarInfo) -> bool:
    return member.isreg() and not member.issparse()


def _stream(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(path, "r|*", tarinfo=_Header) as tar:
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
                    # Windows' own separator, as some of its programs write it.
                    yield member.filename.replace("\\", "/"), content
