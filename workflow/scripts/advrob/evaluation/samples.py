"""The test images that attacks and certificates are made for, the same for every network."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import h5py
import numpy as np
import torch
from torch import Tensor

from advrob.errors import UserError
from advrob.files import identities, store
from advrob.files.rows import ImageRows
from advrob.job import compute


@dataclass(frozen=True)
class Sample:
    """Some of the test images.

    Attributes:
        numbers: their indices among the test images, ascending, ``(N,)``.
        ids: their ids.
        images: 8-bit images ``(N, H, W, 3)``, read from their file on demand.
        labels: int64 ``(N,)``.
        classes: the names of all classes.
    """

    numbers: np.ndarray
    ids: Sequence[str]
    images: ImageRows
    labels: np.ndarray
    classes: Sequence[str]

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.ids)

    @property
    def targets(self) -> Tensor:
        """The labels as a tensor."""
        return torch.from_numpy(self.labels)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that a file about these images has besides the images."""
        return {"labels": self.labels, "ids": np.array(self.ids, dtype=object)}


def read_sample(file: h5py.File, seed: int, *, count: int, pattern: str | None) -> Sample:
    """Draw images from an open file of images.

    Args:
        file: of schema ``images/1``.
        seed: the configured seed.
        count: how many to draw; all if there are fewer.
        pattern: take only images whose file name matches it.

    Raises:
        UserError: no image matches.
    """
    ids = store.strings(file["ids"])
    numbers = sample(ids, count, pattern, seed)
    return Sample(
        numbers=numbers,
        ids=[ids[number] for number in numbers],
        images=ImageRows(file["images"], numbers),
        labels=file["labels"][:][numbers],
        classes=store.strings(file["classes"]),
    )


def sample(ids: Sequence[str], count: int, pattern: str | None, seed: int) -> np.ndarray:
    """Indices of the images to attack, the same for every network, ascending.

    Of several views of a photograph the others are drawn only when every photograph has one.

    Args:
        ids: of all test images.
        count: how many to draw; all if there are fewer.
        pattern: take only images whose file name matches it.
        seed: the configured seed.

    Raises:
        UserError: no image matches.
    """
    candidates = np.flatnonzero(identities.select(ids, pattern))
    if not len(candidates):
        raise UserError(
            f"images.unseen: '{pattern}' matches none of the {len(ids)} test images. Correct it, "
            "or set it to null to attack any of them."
        )
    order = torch.randperm(len(candidates), generator=compute.generator(seed, "robustness"))
    views: Counter[str] = Counter()
    ranked: list[tuple[int, int, int]] = []
    for number in candidates[order.numpy()]:
        photograph = identities.photograph(ids[number])
        ranked.append((views[photograph], len(ranked), number))
        views[photograph] += 1
    return np.array(sorted(number for *_, number in sorted(ranked)[:count]))


def rows_of(ids: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """The rows of named images among ``ids``, ``(N,)``."""
    row_of = {name: row for row, name in enumerate(ids)}
    return np.array([row_of[name] for name in names])
