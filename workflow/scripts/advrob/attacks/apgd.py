"""Auto-PGD: projected gradient descent that chooses its steps itself."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor

from advrob.attacks import Attack, Task
from advrob.attacks.bounds import Ball
from advrob.attacks.losses import LOSSES, gradient_of
from advrob.job.progress import progress

# The names are those of Croce and Hein, Section 3.
ALPHA = 0.75
RHO = 0.75


class AutoPGD(Attack):
    """Auto-PGD: climbs a loss with momentum and halves an image's step when it stops helping.

    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks" (2020), Algorithm 1, with the paper's constants. The network sees every
    iterate as it would be stored, and an image that fools it is left alone.

    Args:
        loss: the loss that it climbs. cross_entropy: the attack is known as APGD-CE. margin: how
            far the best wrong class leads; its gradient does not vanish where probabilities are 0
            or 1. logits_ratio: the margin in units of the spread of the logits; the attack is known
            as APGD-DLR.
        norm: the norm that is bounded.
        radius: the bound, in units of 1/255.
        iterations: gradients per image.
        levels: 256 to work on 8-bit images, as they are stored; null to work on real numbers, which
            must be rounded before they are stored (`advrob.attacks.lattice`).
    """

    def __init__(
        self,
        *,
        loss: Literal["cross_entropy", "margin", "logits_ratio"] = "cross_entropy",
        norm: Literal["linf", "l2"],
        radius: Annotated[float, {"exclusiveMinimum": 0, "levels": True}],
        iterations: Annotated[int, {"minimum": 1}] = 100,
        levels: Literal[256] | None = 256,
    ) -> None:
        self.norm, self.radius, self.levels = norm, radius, levels
        self.loss, self.iterations = loss, iterations

    def perturb(self, task: Task) -> Tensor:
        """See `Attack`: where no image fooled the network, the one with the highest loss."""
        return climb(
            task,
            Ball(task.images, self.norm, self.radius, self.levels),
            lambda rows, logits, labels: LOSSES[self.loss](logits, labels),
            iterations=self.iterations,
        )


@dataclass
class Climb:
    """The state of the ascent for the images that are not fooled yet, one row each."""

    index: Tensor  # (n,) their positions in the batch
    moved: Tensor  # the iterate
    previous: Tensor  # the one before
    step: Tensor  # (n, 1, 1, 1)
    best: Tensor  # the iterate with the highest loss
    best_gradient: Tensor
    best_value: Tensor  # (n,) its loss
    value: Tensor  # (n,) the last loss
    rises: Tensor  # (n,) how often it rose since the last checkpoint
    checked_step: Tensor  # the step and the highest loss at the last checkpoint
    checked_value: Tensor

    @classmethod
    def begin(cls, start: Tensor, radius: float) -> "Climb":
        """Begin at images inside the ball, with the paper's first step of two radii."""
        n, device = len(start), start.device
        lowest = torch.full((n,), -torch.inf, device=device)
        step = torch.full((n, 1, 1, 1), 2.0 * radius, device=device)
        return cls(
            index=torch.arange(n, device=device),
            moved=start,
            previous=start,
            step=step,
            best=start,
            best_gradient=torch.zeros_like(start),
            best_value=lowest,
            value=lowest,
            rises=torch.zeros(n, device=device),
            checked_step=step,
            checked_value=lowest,
        )

    def __getitem__(self, rows: Tensor) -> "Climb":
        """Some of the images."""
        return Climb(*(getattr(self, field.name)[rows] for field in fields(self)))

    def record(self, value: Tensor, gradient: Tensor) -> Tensor:
        """Record the iterates' losses ``(n,)`` and gradients; return which are the best so far."""
        self.rises = self.rises + (value > self.value)
        self.value = value
        better = value > self.best_value
        self.best_value = torch.where(better, value, self.best_value)
        wide = better[:, None, None, None]
        self.best = torch.where(wide, self.moved, self.best)
        self.best_gradient = torch.where(wide, gradient, self.best_gradient)
        return better

    def check(self, gradient: Tensor, window: int) -> Tensor:
        """Halve the step where progress has stalled, and return to the best iterate there.

        Returns:
            The gradients to start the next step from, ``(n, 3, H, W)``.
        """
        # Conditions 1 and 2 of the paper's Section 3.
        wavered = self.rises < RHO * window
        stuck = (self.checked_step == self.step).flatten() & (self.checked_value == self.best_value)
        halved = (wavered | stuck)[:, None, None, None]
        self.checked_step, self.checked_value = self.step, self.best_value
        self.step = torch.where(halved, self.step / 2, self.step)
        self.previous = torch.where(halved, self.best, self.previous)
        self.moved = torch.where(halved, self.best, self.moved)
        self.rises = torch.zeros_like(self.rises)
        return torch.where(halved, self.best_gradient, gradient)

    def advance(self, ball: Ball, gradient: Tensor, alpha: float) -> None:
        """Take a step along the gradient, with momentum from the last one."""
        straight = ball.project(self.moved + self.step * ball.steepest(gradient))
        momentum = (1 - alpha) * (self.moved - self.previous)
        ahead = ball.project(self.moved + alpha * (straight - self.moved) + momentum)
        self.previous, self.moved = self.moved, ahead


def climb(
    task: Task,
    whole: Ball,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    *,
    iterations: int,
) -> Tensor:
    """Auto-PGD on any loss.

    Args:
        task: N images, of which those that fool the network are returned as they are.
        whole: the same images, and how far they may be moved.
        loss: values ``(n,)`` for the indices of some of the images, int64 ``(n,)``, their logits
            ``(n, classes)`` and their labels.
        iterations: gradients per image.

    Returns:
        See `AutoPGD.perturb`.
    """
    adversarial = whole.originals.clone()
    state = Climb.begin(whole.random(task.generator), whole.radius)
    state = state[task.holding()]
    window, steps_since_check = max(int(0.22 * iterations), 1), 0
    for iteration in progress(range(iterations), "iterations, at most", iterations):
        if len(state.index) == 0:
            break
        ball, rows = whole[state.index], state.index
        seen = ball.stored(state.moved)
        value, gradient, excess = gradient_of(
            task.network, seen, task.labels[rows], partial(loss, rows)
        )
        improved = state.record(value, gradient) | (excess > task.surplus)
        adversarial[rows[improved]] = seen[improved]
        unfooled = excess <= task.surplus
        if not unfooled.all():
            state, gradient, ball = state[unfooled], gradient[unfooled], ball[unfooled]
        steps_since_check += 1
        if steps_since_check == window:
            gradient = state.check(gradient, window)
            window = max(window - max(int(0.03 * iterations), 1), max(int(0.06 * iterations), 1))
            steps_since_check = 0
        state.advance(ball, gradient, ALPHA if iteration else 1.0)
    return adversarial
