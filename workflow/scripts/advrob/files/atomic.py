"""Files that are replaced atomically: a reader finds the old one or the new one, never a half."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from advrob.job.disk import explain_write_errors


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path`` and rename it onto ``path`` on success.

    A reader therefore finds the old file, or the new one, or none, also after the machine stopped.
    Two writers of one file do not disturb each other: each has a name of its own.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f"{_prefix(path)}{os.getpid()}.tmp")
    with explain_write_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_orphans(path)
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    return f".{path.name}.{os.uname().nodename}."


def _remove_orphans(path: Path) -> None:
    """Remove what writers of ``path`` on this machine left when they were killed."""
    for file in path.parent.iterdir():
        if file.name.startswith(_prefix(path)) and file.suffix == ".tmp":
            process = int(file.stem.rpartition(".")[2])
            try:
                os.kill(process, 0)  # does nothing but ask for it
            except ProcessLookupError:
                file.unlink(missing_ok=True)
            except PermissionError:
                continue
