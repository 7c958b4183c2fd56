"""AutoAttack: the standard by which robustness is compared."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Literal

from torch import Tensor

from advrob.attacks import Attack, Task, in_turn
from advrob.attacks.apgd import AutoPGD
from advrob.attacks.apgd_t import TargetedAutoPGD
from advrob.attacks.fab import FastAdaptiveBoundary
from advrob.attacks.square import Square


class AutoAttack(Attack):
    """AutoAttack: APGD-CE, APGD-T, FAB-T and Square, each on the images not fooled yet.

    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks" (2020), Section 5; the defaults are those of its standard version. The
    network has at least four classes.

    Args:
        norm: the norm that is bounded.
        radius: the bound, in units of 1/255.
        iterations: gradients per image of APGD-CE, and per image and target of APGD-T and FAB-T.
        targets: wrong classes that APGD-T and FAB-T try.
        queries: number of Square's queries per image.
        restarts: how many times each attack runs.
        levels: 256 to work on 8-bit images, null to work on real numbers.
    """

    effort = ("iterations", "targets")

    def __init__(
        self,
        *,
        norm: Literal["linf", "l2"],
        radius: Annotated[float, {"exclusiveMinimum": 0, "levels": True}],
        iterations: Annotated[int, {"minimum": 1}] = 100,
        targets: Annotated[int, {"minimum": 1}] = 9,
        queries: Annotated[int, {"minimum": 1}] = 5000,
        restarts: Annotated[int, {"minimum": 1}] = 1,
        levels: Literal[256] | None = 256,
    ) -> None:
        self.norm, self.radius, self.levels = norm, radius, levels
        self.iterations, self.targets, self.queries = iterations, targets, queries
        self.restarts = restarts

    def parts(self) -> Iterator[Attack]:
        """The attacks in the order in which they are tried."""
        norm, radius, levels = self.norm, self.radius, self.levels
        iterations, targets = self.iterations, self.targets
        for _ in range(self.restarts):
            yield AutoPGD(norm=norm, radius=radius, iterations=iterations, levels=levels)
        for _ in range(self.restarts):
            yield TargetedAutoPGD(
                norm=norm, radius=radius, targets=targets, iterations=iterations, levels=levels
            )
        for restart in range(self.restarts):
            yield FastAdaptiveBoundary(
                norm=norm,
                radius=radius,
                targets=targets,
                iterations=iterations,
                random_start=restart > 0,
                levels=levels,
            )
        for _ in range(self.restarts):
            yield Square(norm=norm, radius=radius, queries=self.queries, levels=levels)

    def perturb(self, task: Task) -> Tensor:
        """See `Attack`: where no image fooled the network, the one with the highest margin."""

        def run(part: Attack, rows: Tensor) -> Tensor:
            return part.perturb(task[rows])

        return in_turn(task, (partial(run, part) for part in self.parts()))
