"""No defence: the control of every comparison."""

from torch import Tensor

from advrob.defences import Defence


class Identity(Defence):
    """Images as they are."""

    def forward(self, images: Tensor) -> Tensor:
        """Give ``images`` back."""
        return images
