"""Downsampling (section 4 of the paper)."""

import functools
from typing import Annotated

import torch
from torch import Tensor

from advrob.defences import Defence, check_ratio
from advrob.images.pixels import by_sides, resizing


class Downsample(Defence):
    """Shrink images and enlarge them again, both bilinear; shrinking averages (antialiased).

    Args:
        ratio: the small image's side as a fraction of the original's, in (0, 1].

    Raises:
        UserError: the ratio is out of range.
    """

    def __init__(self, *, ratio: Annotated[float, {"exclusiveMinimum": 0, "maximum": 1}]) -> None:
        super().__init__()
        check_ratio("downsample", ratio, "0.5 for half the width and height")
        self.ratio = ratio

    def forward(self, images: Tensor) -> Tensor:
        """Remove the detail that the small image cannot hold."""
        rows, columns = (
            _shrink_and_enlarge(length, self.ratio, images.dtype, images.device)
            for length in images.shape[-2:]
        )
        return by_sides(images, rows, columns)


@functools.lru_cache
@torch.inference_mode(False)  # the cached matrix serves attacks, too
@torch.no_grad()
def _shrink_and_enlarge(
    length: int, ratio: float, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The matrix ``(length, length)`` that shrinks and enlarges a row of pixels."""
    small = max(1, round(length * ratio))
    shrink = resizing(length, small, torch.float64, torch.device("cpu"))
    enlarge = resizing(small, length, torch.float64, torch.device("cpu"))
    return (enlarge @ shrink).to(device, dtype)
