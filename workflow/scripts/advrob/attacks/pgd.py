"""Projected gradient descent: the plain untargeted attack on one image at a time."""

from typing import Annotated, Literal

from torch import Tensor

from advrob.attacks import Attack, Task
from advrob.attacks.bounds import Ball
from advrob.attacks.losses import gradient_of
from advrob.job.progress import progress


class PGD(Attack):
    """Projected gradient descent: raises the cross-entropy in steps of equal length.

    Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks" (2018), Section
    2.1, from a random start. The network sees every iterate as it would be stored, so that what
    fools it there fools it afterwards; an image that does is left alone.

    Args:
        norm: the norm that is bounded.
        radius: the bound, in units of 1/255.
        step: the length of a step in the same norm and unit.
        iterations: the number of steps.
        levels: 256 to work on 8-bit images, as they are stored; null to work on real numbers, which
            must be rounded before they are stored (`advrob.attacks.lattice`).
    """

    def __init__(
        self,
        *,
        norm: Literal["linf", "l2"],
        radius: Annotated[float, {"exclusiveMinimum": 0, "levels": True}],
        step: Annotated[float, {"exclusiveMinimum": 0, "levels": True}],
        iterations: Annotated[int, {"minimum": 1}],
        levels: Literal[256] | None = 256,
    ) -> None:
        self.norm, self.radius, self.levels = norm, radius, levels
        self.step, self.iterations = step, iterations

    def perturb(self, task: Task) -> Tensor:
        """See `Attack`."""
        adversarial = task.images.clone()
        ball = Ball(task.images, self.norm, self.radius, self.levels)
        moved = ball.random(task.generator)
        active = task.holding()
        ball, moved = ball[active], moved[active]
        for _ in progress(range(self.iterations), "iterations, at most", self.iterations):
            if len(active) == 0:
                break
            adversarial[active] = ball.stored(moved)
            _, gradient, excess = gradient_of(
                task.network, adversarial[active], task.labels[active]
            )
            unfooled = excess <= task.surplus
            active, ball, moved = active[unfooled], ball[unfooled], moved[unfooled]
            moved = ball.project(moved + self.step * ball.steepest(gradient[unfooled]))
        adversarial[active] = ball.stored(moved)
        return adversarial
