"""Additive noise (section 4 of the paper)."""

from typing import Annotated

from torch import Tensor

from advrob.defences import Defence
from advrob.errors import UserError


class UniformNoise(Defence):
    """Independent uniform noise on every channel of every pixel, clipped to [0, 1].

    Args:
        minimum: lower end of the range of the noise, in units of 1/255.
        maximum: upper end of the range of the noise, in units of 1/255.

    Raises:
        UserError: the minimum is above the maximum.
    """

    stochastic = True
    ordered = (("minimum", "maximum"),)

    def __init__(
        self,
        *,
        minimum: Annotated[float, {"minimum": -255, "maximum": 255, "levels": True}],
        maximum: Annotated[float, {"minimum": -255, "maximum": 255, "levels": True}],
    ) -> None:
        super().__init__()
        if minimum > maximum:
            raise UserError(
                f"noise: minimum is {minimum} and maximum {maximum}; expected minimum <= maximum."
            )
        self.minimum = minimum
        self.maximum = maximum

    def forward(self, images: Tensor) -> Tensor:
        """Add a fresh draw to every image."""
        noise = self.minimum + (self.maximum - self.minimum) * self.draw(images.shape, images)
        return (images + noise / 255).clamp(0, 1)
