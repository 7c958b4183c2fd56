"""A job's log: what it prints, and what it says at its end."""

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from advrob.errors import UserError
from advrob.job import record
from advrob.job.disk import explain_write_errors
from advrob.job.progress import LOG_NAMES


class _Log(io.TextIOWrapper):
    """A text file that is written line by line, so that it also tells of a job that is killed.

    Raises:
        UserError: it cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        with explain_write_errors(path):
            binary = path.open("wb")
        self.path = path
        # Names of files may be no text.
        super().__init__(binary, encoding="utf-8", errors="backslashreplace", line_buffering=True)

    def write(self, text: str) -> int:
        with explain_write_errors(self.path):
            return super().write(text)

    def close(self) -> None:
        # What a full disk did not take was told when it was written.
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def logging(path: str | Path | None, rule: str) -> Iterator[None]:
    """Have everything that is printed in a file.

    Args:
        path: of the file; None leaves it where it is.
        rule: whose log it is.

    Raises:
        UserError: the file cannot be written.
    """
    if path is None:
        yield
        return
    with (
        _Log(Path(path)) as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        LOG_NAMES.append(f"{rule}, {path}")
        try:
            yield
        finally:
            LOG_NAMES.pop()


def say(message: str) -> None:
    """Print a message in the log, and on the terminal as well."""
    # The disk may be full, the terminal closed.
    with contextlib.suppress(OSError, UserError):
        print(message, flush=True)
    if sys.__stderr__ is not None and sys.stdout is not sys.__stdout__:
        with contextlib.suppress(OSError):
            print(message, file=sys.__stderr__, flush=True)


def is_unfinished(path: str | Path) -> bool:
    """Whether a log is that of a job that could not say how it ended."""
    try:
        return bool(Path(path).stat().st_size) and record.read(path) is None
    except OSError:
        return False
