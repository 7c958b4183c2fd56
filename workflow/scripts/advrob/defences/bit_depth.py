"""Fewer levels of brightness (feature squeezing)."""

from typing import Annotated

from torch import Tensor

from advrob.defences import Defence, straight_through
from advrob.errors import UserError


class BitDepth(Defence):
    """Round every channel to ``2^bits`` levels (Xu, Evans and Qi 2018, section II.B).

    Rounding has no useful gradient: the backward pass leaves it out.

    Args:
        bits: bits per channel, from 1 to 8; stored images have 8.

    Raises:
        UserError: the bits are out of range.
    """

    def __init__(self, *, bits: Annotated[int, {"minimum": 1, "maximum": 8}]) -> None:
        super().__init__()
        if bits not in range(1, 9):
            raise UserError(
                f"bit_depth: bits is {bits}, expected a whole number from 1 to 8. Set it to 3, for "
                "example."
            )
        self.highest = 2**bits - 1

    def forward(self, images: Tensor) -> Tensor:
        """Give each number the nearest of the levels, which include 0 and 1."""
        images = images.clamp(0, 1)
        return straight_through((images * self.highest).round() / self.highest, images)
