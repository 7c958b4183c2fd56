"""Images made smaller at random and put somewhere on black."""

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from advrob.defences import Defence, check_ratio


class ResizePad(Defence):
    """Random resizing and zero padding (Xie et al. 2018), drawn separately for every image.

    The authors enlarge images of 299 pixels to 299 to 330 and pad them to 331. Here images keep
    their size: they shrink to a side between ``ratio`` and 1 of it, every whole number of pixels
    equally likely, and black is added around them, every position equally likely. 299/331 = 0.9 of
    the authors is this one's default. Resizing is bilinear.

    Args:
        ratio: the smallest side as a fraction of the original's, in (0, 1].

    Raises:
        UserError: the ratio is out of range.
    """

    stochastic = True

    def __init__(
        self, *, ratio: Annotated[float, {"exclusiveMinimum": 0, "maximum": 1}] = 0.9
    ) -> None:
        super().__init__()
        check_ratio("resize_pad", ratio, "0.9 to shrink images by up to a tenth")
        self.ratio = ratio

    def forward(self, images: Tensor) -> Tensor:
        """Shrink and place images ``(N, 3, H, W)``."""
        draws = self.draw((3, len(images), 1), images)
        rows = self._coordinates(images.shape[2], draws[0], draws[1])
        columns = self._coordinates(images.shape[3], draws[0], draws[2])
        inside = (rows.abs() < 1)[:, None, :, None] & (columns.abs() < 1)[:, None, None, :]
        grid = torch.stack(torch.broadcast_tensors(columns[:, None], rows[..., None]), dim=-1)
        resized = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        return resized * inside

    def _coordinates(self, length: int, size: Tensor, position: Tensor) -> Tensor:
        """Coordinates ``(N, length)`` of output pixels in the original, whose ends are -1 and 1."""
        smallest = max(1, round(length * self.ratio))
        small = smallest + (size * (length - smallest + 1)).floor()
        start = (position * (length - small + 1)).floor()
        centres = torch.arange(length, device=size.device) + 0.5
        return 2 * (centres - start) / small - 1
