"""Universal adversarial training."""

from typing import Annotated

from advrob.training import Pupil
from advrob.training.climbing import Climbing


class Universal(Climbing):
    """Train on all images with one perturbation, which each batch updates.

    Shafahi, Najibi, Xu, Dickerson, Davis and Goldstein, "Universal adversarial training" (2020),
    Algorithm 2. It costs what training on original images costs.

    Args:
        pupil: who is taught.
        radius: bound on each pixel's change, in units of 1/255.
        step: how far a pixel moves after each batch, in units of 1/255.
    """

    def __init__(
        self,
        pupil: Pupil,
        *,
        radius: Annotated[float, {"exclusiveMinimum": 0, "levels": True}] = 10.0,
        step: Annotated[float, {"exclusiveMinimum": 0, "levels": True}] = 1.0,
    ) -> None:
        super().__init__(1, pupil, radius=radius, step=step)
