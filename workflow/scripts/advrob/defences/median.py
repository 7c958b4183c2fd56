"""Median filter (feature squeezing)."""

from typing import Annotated

import torch
from torch import Tensor

from advrob.defences import Defence
from advrob.errors import UserError


class Median(Defence):
    """Replace every value by the median of its neighbourhood (Xu, Evans and Qi 2018, sec. II.C).

    Each channel for itself; the border is mirrored. A window of an even number of values has two
    middle ones, of which the larger is taken, and reaches one pixel further to the left and up, as
    in `scipy.ndimage.median_filter`, which the authors use.

    Args:
        size: side of the square window in pixels; 2 and 3 in the paper.

    Raises:
        UserError: the size is not a whole number above 0.
    """

    def __init__(self, *, size: Annotated[int, {"minimum": 1, "at_most": "side"}]) -> None:
        super().__init__()
        if size != int(size) or size < 1:
            raise UserError(
                f"median: size is {size}, expected a whole number of pixels above 0. Set it to 2 "
                "or 3."
            )
        self.size = int(size)

    def forward(self, images: Tensor) -> Tensor:
        """Filter images ``(N, 3, H, W)``; the gradient goes to the pixel that was taken."""
        rows, columns = (_mirrored(length, self.size, images.device) for length in images.shape[2:])
        padded = images.index_select(2, rows).index_select(3, columns)
        windows = padded.unfold(2, self.size, 1).unfold(3, self.size, 1).flatten(4)
        return windows.kthvalue(self.size**2 // 2 + 1).values


def _mirrored(length: int, size: int, device: torch.device) -> Tensor:
    """Pixels along one side and ``size - 1`` beyond its ends, mirrored with the border twice."""
    first = -(size // 2)
    positions = torch.arange(first, first + length + size - 1, device=device) % (2 * length)
    return torch.minimum(positions, 2 * length - 1 - positions)
