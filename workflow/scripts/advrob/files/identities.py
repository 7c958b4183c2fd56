"""The ids of images: a photograph's name, and the number of the crop where there are several."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

import numpy as np


def photograph(identity: str) -> str:
    """The photograph that an image is of: its id without the crop."""
    return re.sub(r"#\d+$", "", identity)


def select(ids: Sequence[str], pattern: str | None) -> np.ndarray:
    """Which images' file names match a shell pattern (all, without one): bool ``(N,)``."""
    names = (PurePosixPath(photograph(identity)).name for identity in ids)
    return np.array([pattern is None or fnmatchcase(name, pattern) for name in names], dtype=bool)
