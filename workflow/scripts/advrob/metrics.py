"""Accuracy on a set of images and how far it can be trusted.

An id is ``photograph`` or ``photograph#crop``: several crops of one photograph are not
independent, so intervals count photographs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Accuracy:
    """The fraction of images whose predicted class is their label.

    Attributes:
        n: images.
        photographs: distinct photographs that they were cropped from.
        correct: images classified correctly.
        accuracy: ``correct / n``.
        low: lower end of the 95 % Wilson interval.
        high: upper end.
    """

    n: int
    photographs: int
    correct: int
    accuracy: float
    low: float
    high: float


def wilson(successes: float, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The score interval of a proportion (Wilson 1927, equation 4; no continuity correction).

    Unlike the normal approximation it keeps its coverage near 0 and 1 and at small ``n``.

    Args:
        successes: from 0 to ``n``; need not be whole (a mean over crops, times photographs).
        n: independent trials, at least one.
        confidence: the coverage aimed at, between 0 and 1.

    Raises:
        ValueError: no trials, or successes outside 0 to ``n``.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"wilson: {successes} successes of {n} trials are not a proportion")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    centre = share + z**2 / (2 * n)
    spread = z * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    scale = 1 + z**2 / n
    # At 0 and n successes one end is exactly 0 or 1, which rounding would miss by an ulp.
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == n else (centre + spread) / scale
    return low, high


def photograph(identity: str) -> str:
    """The photograph that an image is of: its id without the crop."""
    return re.sub(r"#\d+$", "", identity)


def accuracy(correct: np.ndarray, ids: Sequence[str]) -> Accuracy:
    """Accuracy over images, with an interval that counts photographs.

    The interval is Wilson's at the mean accuracy with as many trials as there are photographs: it
    takes the crops of one photograph as fully dependent, so it is never too narrow.

    Args:
        correct: bool ``(N,)``.
        ids: the images' ids, in the same order.

    Raises:
        ValueError: there are no images.
    """
    n, photographs = len(correct), len(set(map(photograph, ids)))
    if n != len(ids):
        raise ValueError(f"accuracy: {n} results for {len(ids)} ids")
    hits = int(np.count_nonzero(correct))
    low, high = wilson(hits / max(n, 1) * photographs, photographs)
    return Accuracy(n, photographs, hits, hits / n, low, high)


def select(ids: Sequence[str], pattern: str | None) -> np.ndarray:
    """Which images' file names match a shell pattern (all, without one): bool ``(N,)``."""
    names = (PurePosixPath(photograph(identity)).name for identity in ids)
    return np.array([pattern is None or fnmatchcase(name, pattern) for name in names], dtype=bool)
