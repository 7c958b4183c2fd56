"""Downsampling (section 4 of the paper)."""

import functools
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from advrob.defences import Defence
from advrob.errors import UserError


class Downsample(Defence):
    """Shrink images and enlarge them again, both bilinear; shrinking averages (antialiased).

    Args:
        ratio: the small image's side as a fraction of the original's, in (0, 1].

    Raises:
        UserError: the ratio is out of range.
    """

    def __init__(self, *, ratio: Annotated[float, {"exclusiveMinimum": 0, "maximum": 1}]) -> None:
        super().__init__()
        if not 0 < ratio <= 1:
            raise UserError(
                f"downsample: ratio is {ratio}; expected a fraction above 0 and up to 1, 0.5 "
                "for half the width and height."
            )
        self.ratio = ratio

    def forward(self, images: Tensor) -> Tensor:
        """Remove the detail that the small image cannot hold."""
        rows, columns = (
            _there_and_back(length, self.ratio, images.dtype, images.device)
            for length in images.shape[-2:]
        )
        # Products in bfloat16 would move pixels by a level or two.
        with torch.autocast(images.device.type, enabled=False):
            moved = rows @ images @ columns.T
        return moved.contiguous(memory_format=torch.channels_last)


@functools.lru_cache
@torch.inference_mode(False)  # what is kept here serves attacks, too
@torch.no_grad()
def _there_and_back(length: int, ratio: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix ``(length, length)`` that shrinks and enlarges a row of pixels.

    Resizing is linear, and rows and columns do not mix. As a product it has a gradient that a GPU,
    too, sums in one order; that of PyTorch's antialiased resizing has none.
    """
    small = max(1, round(length * ratio))
    unit = torch.eye(length, dtype=torch.float64, device="cpu")[None, None]
    reduced = F.interpolate(unit, (small, length), mode="bilinear", antialias=True)
    return F.interpolate(reduced, (length, length), mode="bilinear")[0, 0].to(device, dtype)
