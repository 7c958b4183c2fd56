"""Files that a configuration names, by their content and not by their path."""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Keys whose text is the path of a file: of weights, of a published perturbation.
KEYS = {"weights", "file"}


def by_content(settings: Any) -> Any:
    """Settings in which every file under one of the `KEYS` is named by its checksum.

    So another spelling of its path, a link or a copy is the same, and another file in its place is
    not.

    Args:
        settings: of networks and perturbations: mappings, lists and plain values within each other.

    Returns:
        A copy with ``sha256:`` and hexadecimal digits for paths; a path without a file stays.
    """
    if isinstance(settings, Mapping):
        return {
            key: _checksum(value) if key in KEYS and isinstance(value, str) else by_content(value)
            for key, value in settings.items()
        }
    if isinstance(settings, list | tuple):
        return [by_content(item) for item in settings]
    return settings


def sha256(path: str | Path) -> str:
    """The checksum of a file, in hexadecimal digits."""
    status = Path(path).stat()
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return _read(str(path), status.st_ino, status.st_size, *times)


def _checksum(path: str) -> str:
    try:
        return f"sha256:{sha256(path)}"
    except (OSError, ValueError):
        return path


@functools.cache
def _read(path: str, *_: int) -> str:
    """The checksum of a file, read once as long as its number, size and times are the same."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
