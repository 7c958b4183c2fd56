"""Files and folders that appear whole: a reader finds the old one or the new one, never a half."""

import os
import shutil
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
    with _beside(Path(path)) as temporary:
        yield temporary
        _sync(temporary)
        temporary.replace(path)


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` and rename it to ``path`` on success.

    A reader finds the old folder, or the new one, or none: an old one is removed first, for a
    folder that is not empty cannot be replaced in one step.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    with _beside(path) as temporary:
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync(file)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; what is still there at the end goes."""
    temporary = path.with_name(f"{_prefix(path)}{os.getpid()}.tmp")
    with explain_write_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_orphans(path)
            yield temporary
        finally:
            _remove(temporary)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


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
                _remove(file)
            except PermissionError:
                continue


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
