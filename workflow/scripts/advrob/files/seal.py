"""A digest in front of an HDF5 file, which shows damage before HDF5 reads anything.

HDF5 leaves the first bytes of a file, its *user block*, to the user. One line of text there holds
the SHA-256 of everything behind it. HDF5 itself takes damaged structures at their word: it may read
other content, or search for ever.

A file may name one stretch that its digest leaves out, since a job that needs a few rows of a large
array should not read all of it: consecutive chunks that carry HDF5's own checksums (Fletcher-32),
which HDF5 verifies whenever it reads a chunk.
"""

import errno
import fcntl
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import IO

import h5py

from advrob.errors import UserError

# Bytes of the user block, the fewest that HDF5 allows.
SIZE = 512
# The folder of results, which begins the names of files that Snakemake makes.
RESULTS = "results"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SEAL = re.compile(rb"advrob: SHA-256 without bytes (\d{1,18}) to (\d{1,18}): ([0-9a-f]{64})\n\0+")
_BLOCK = 1 << 20
_AGAIN = "Delete it and run Snakemake again."


def longest_stretch(file: h5py.File) -> tuple[int, int]:
    """The longest stretch of a file's bytes that HDF5's own checksums cover.

    Args:
        file: open for writing, all its chunks written.

    Returns:
        Where it begins and where it ends, both 0 if there is none.
    """
    chunks: list[tuple[int, int]] = []

    def note(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and item.fletcher32:
            item.id.chunk_iter(
                lambda chunk: chunks.append((chunk.byte_offset, chunk.byte_offset + chunk.size))
            )

    file.visititems(note)
    longest, start, end = (0, 0), 0, 0
    for begin, next_end in sorted(chunks):
        start, end = (start if begin == end else begin), next_end
        longest = max(longest, (start, end), key=lambda stretch: stretch[1] - stretch[0])
    return longest


def seal(path: Path, stretch: tuple[int, int]) -> None:
    """Write the digest of a closed file, all but a stretch of it, into its user block."""
    with path.open("r+b") as file:
        block = _block(stretch, _digest(file, stretch))
        file.seek(0)
        file.write(block)


def verify(path: str | Path) -> None:
    """Refuse a file that is not as `seal` left it, or that cannot be read at all.

    What the digest leaves out HDF5 verifies when it reads it.

    Raises:
        UserError: the file is missing, unreadable, locked by a writer, no HDF5, or damaged.
    """
    try:
        # A named pipe would wait for a writer.
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise _unopened(path, "it is no regular file")
        with Path(path).open("rb") as file:
            if _is_locked(file):
                raise UserError(
                    f"{path}: cannot be opened as HDF5 (it is locked): another process is writing "
                    "it. Wait until that process has ended, and run the same command again."
                )
            _verify(file, path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise UserError(f"{path}: no such file. {_remedy(Path(path))}") from error
        raise UserError(
            f"{path}: cannot be read ({error.strerror}). That does not mean that it is damaged. "
            "Make the file and its folders readable to you, and run the same command again."
        ) from error


def _remedy(path: Path) -> str:
    """How to get a file that is missing: results are made by the name that Snakemake knows."""
    if RESULTS not in path.parts:
        return "Correct the path."
    start = len(path.parts) - 1 - path.parts[::-1].index(RESULTS)
    folder = f" --directory {Path(*path.parts[:start])}" if start else ""
    return f"Make it with: snakemake --cores 1 {Path(*path.parts[start:])}{folder}"


def _is_locked(file: IO[bytes]) -> bool:
    """Whether another program is writing the file; False where a file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _verify(file: IO[bytes], path: str | Path) -> None:
    block = file.read(SIZE)
    digest_line = _SEAL.fullmatch(block)
    if digest_line is None:
        if not block.startswith((_SIGNATURE, b"advrob:")):
            raise _unopened(path, "it does not begin as such a file does")
        raise UserError(
            f"{path}: does not begin with a digest of its content. It is damaged, of an earlier "
            f"version of this workflow, or made by another program. {_AGAIN}"
        )
    stretch = int(digest_line[1]), int(digest_line[2])
    if _block(stretch, _digest(file, stretch)) != block:
        raise UserError(
            f"{path}: is damaged: its content does not match its digest. It was cut short, changed "
            f"by another program, or corrupted on the disk. {_AGAIN}"
        )


def _unopened(path: str | Path, reason: str) -> UserError:
    return UserError(
        f"{path}: cannot be opened as HDF5 ({reason}). Expected a file that this workflow made. "
        f"{_AGAIN}"
    )


def _digest(file: IO[bytes], stretch: tuple[int, int]) -> str:
    """SHA-256, in hexadecimal digits, of what is behind the user block, without the stretch."""
    start, end = stretch
    # Another stretch over the same bytes is another digest.
    digest = hashlib.sha256(f"{start} to {end}".encode())
    file.seek(SIZE)
    left = max(start - SIZE, 0)
    while block := file.read(min(left, _BLOCK)):
        digest.update(block)
        left -= len(block)
    file.seek(min(max(end, SIZE), os.fstat(file.fileno()).st_size))
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _block(stretch: tuple[int, int], digest: str) -> bytes:
    line = f"advrob: SHA-256 without bytes {stretch[0]} to {stretch[1]}: {digest}\n"
    return line.encode().ljust(SIZE, b"\0")
