"""Adversarial training for free."""

from typing import Annotated

from advrob.training import Pupil
from advrob.training.climbing import Climbing, share_of_radius


class Free(Climbing):
    """Train on each batch several times in a row, with a perturbation for each image.

    Shafahi, Najibi, Ghiasi, Xu, Dickerson, Studer, Davis, Taylor and Goldstein, "Adversarial
    training for free!" (2019), Algorithm 1: steps are as long as the radius, and a batch begins
    with the perturbations that the last one ended with.

    Args:
        pupil: who is taught.
        radius: bound on each pixel's change, in units of 1/255.
        replays: how many times each batch is shown.
    """

    def __init__(
        self,
        pupil: Pupil,
        *,
        radius: Annotated[float, {"exclusiveMinimum": 0, "levels": True}] = 4.0,
        replays: Annotated[int, {"minimum": 1}] = 4,
    ) -> None:
        super().__init__(pupil.batch_size, pupil, radius=radius, step=radius)
        self.replays = replays

    def size(self) -> float:
        """See `FULL_RADIUS_AT`."""
        return share_of_radius(self.progress)
