"""Downsampling (section 4 of the paper)."""

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

    def __init__(self, *, ratio: float) -> None:
        super().__init__()
        if not 0 < ratio <= 1:
            raise UserError(
                f"downsample: ratio is {ratio}; expected a fraction above 0 and up to 1, 0.5 "
                "for half the width and height."
            )
        self.ratio = ratio

    def forward(self, images: Tensor) -> Tensor:
        """Remove the detail that the small image cannot hold."""
        height, width = images.shape[-2:]
        small = (max(1, round(height * self.ratio)), max(1, round(width * self.ratio)))
        reduced = F.interpolate(images, small, mode="bilinear", antialias=True)
        return F.interpolate(reduced, (height, width), mode="bilinear")
