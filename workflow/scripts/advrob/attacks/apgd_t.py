"""Auto-PGD towards one wrong class after another."""

from functools import partial
from typing import Annotated, Literal

from torch import Tensor

from advrob.attacks import Attack, Task, in_turn
from advrob.attacks.apgd import climb
from advrob.attacks.bounds import Ball
from advrob.attacks.losses import targeted_ratio


class TargetedAutoPGD(Attack):
    """APGD-T: Auto-PGD towards the most likely wrong classes in turn, by the targeted ratio.

    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks" (2020), Section 4. An image that any class but its own wins is left
    alone. The network has at least four classes.

    Args:
        norm: the norm that is bounded.
        radius: the bound, in units of 1/255.
        targets: how many wrong classes are tried.
        iterations: gradients per image and target.
        levels: 256 to work on 8-bit images, as they are stored; null to work on real numbers, which
            must be rounded before they are stored (`advrob.attacks.lattice`).
    """

    effort = ("iterations", "targets")

    def __init__(
        self,
        *,
        norm: Literal["linf", "l2"],
        radius: Annotated[float, {"exclusiveMinimum": 0, "levels": True}],
        targets: Annotated[int, {"minimum": 1}] = 9,
        iterations: Annotated[int, {"minimum": 1}] = 100,
        levels: Literal[256] | None = 256,
    ) -> None:
        self.norm, self.radius, self.levels = norm, radius, levels
        self.targets, self.iterations = targets, iterations

    def perturb(self, task: Task) -> Tensor:
        """See `Attack`: where no image fooled the network, the one with the highest margin."""

        def towards(targets: Tensor, rows: Tensor) -> Tensor:
            return climb(
                task[rows],
                Ball(task.images[rows], self.norm, self.radius, self.levels),
                lambda indices, logits, own: targeted_ratio(logits, own, targets[rows[indices]]),
                iterations=self.iterations,
            )

        ranked = task.likely_targets(self.targets)
        return in_turn(task, [partial(towards, targets) for targets in ranked])
