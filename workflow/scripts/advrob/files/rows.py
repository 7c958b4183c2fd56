"""Rows of stored images, which need not fit in memory."""

from typing import Protocol, TypeAlias

import h5py
import numpy as np


class Readable(Protocol):
    """What rows are read from: 8-bit images ``(n, H, W, 3)``."""

    shape: tuple[int, ...]

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, selection: slice) -> np.ndarray:
        """Some neighbours, in memory."""


class ImageRows:
    """Rows of stored images, read when they are asked for: memory does not bound their number.

    Args:
        images: 8-bit images ``(n, H, W, 3)``, in memory, in a file or drawn when they are read.
        numbers: which of them, in which order.
    """

    def __init__(
        self, images: "np.ndarray | h5py.Dataset | ImageRows | Readable", numbers: np.ndarray
    ) -> None:
        self.images, self.numbers = images, numbers
        self.shape: tuple[int, ...] = (len(numbers), *images.shape[1:])
        self.size = int(np.prod(self.shape))

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.numbers)

    def __getitem__(self, selection: slice | np.ndarray) -> np.ndarray:
        """The chosen of these rows, in memory."""
        numbers = self.numbers[selection]
        order = np.argsort(numbers, kind="stable")
        result = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        # A read for each run of neighbours: given a list of rows, HDF5 takes a hundred times as
        # long.
        for run in np.split(order, np.flatnonzero(np.diff(numbers[order]) != 1) + 1):
            if len(run):
                first = numbers[run[0]]
                result[run] = self.images[first : first + len(run)]
        return result


# Stored images, 8 bits, (N, H, W, 3): an array in memory, a dataset in a file, or some rows of one.
# Slices only.
Images: TypeAlias = np.ndarray | h5py.Dataset | ImageRows


def first_rows(images: Images | Readable, count: int | None) -> ImageRows:
    """The first ``count`` images, all of them by default or where there are fewer."""
    return ImageRows(images, np.arange(len(images))[:count])
