"""What a full disk, a quota or a folder without write permission is to the user."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from advrob.errors import UserError

# What an operating system says when a file cannot grow, and what that is to its user.
NO_SPACE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a limit on the size of files is reached",
}


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Say in a sentence why a file cannot be made.

    Raises:
        UserError: the folder cannot be written, or the disk is full; notes that were added to the
            error on its way are part of the sentence.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = code(error)
        notes = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
        if number in NO_SPACE:
            folder = path.parent.resolve()
            free = readable(shutil.disk_usage(folder).free)
            raise UserError(
                f"{path}: {NO_SPACE[number]}.{notes} {free} are "
                f"free in {folder}. Free some space, or choose another folder with --directory, "
                "and run the same command again."
            ) from error
        if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise UserError(
                f"{path}: cannot be written ({os.strerror(number)}). Expected a folder with write "
                "permission. Change its permissions or choose another one with --directory."
            ) from error
        raise


def code(error: BaseException) -> int | None:
    """The operating system's error behind one: libraries in between wrap it or only quote it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause.errno
        for number in NO_SPACE:
            if f"errno = {number}," in str(cause):
                return number
        cause = cause.__cause__ or cause.__context__
    return None


@contextmanager
def require_space(folder: Path, needed: int, what: str) -> Iterator[None]:
    """Refuse to begin to write what will not fit on the disk, and name its size if it does not.

    Args:
        folder: on the disk.
        needed: how many bytes will be written.
        what: they are.

    Raises:
        OSError: for `explain_write_errors` to put in words.
    """
    try:
        if needed > shutil.disk_usage(folder).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield
    except (OSError, RuntimeError) as error:
        if code(error) in NO_SPACE:
            error.add_note(f"{what} needs {readable(needed)}.")
        raise


def readable(size: float) -> str:
    """A number of bytes for a message."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
