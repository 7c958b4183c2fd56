"""Auto-PGD: projected gradient descent that chooses its steps itself."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from advrob.attacks.bounds import Ball
from advrob.attacks.losses import LOSSES
from advrob.attacks.pgd import gradient_of
from advrob.job.progress import progress

# The names are those of Croce and Hein, Section 3.
ALPHA = 0.75
RHO = 0.75


@dataclass
class Climb:
    """Where the images that still hold are on their way, one row each."""

    index: Tensor  # (n,) their numbers
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

    def __getitem__(self, chosen: Tensor) -> "Climb":
        """Some of the images."""
        return Climb(*(getattr(self, field.name)[chosen] for field in fields(self)))


def apgd(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    loss: str,
    norm: str,
    radius: float,
    iterations: int = 100,
    surplus: float = 0.0,
    generator: torch.Generator,
) -> Tensor:
    """Climb a loss with momentum, halving an image's step where it stops helping.

    Auto-PGD, Algorithm 1 of Croce and Hein, "Reliable evaluation of adversarial robustness with an
    ensemble of diverse parameter-free attacks" (2020), with the paper's constants. As in `pgd` the
    network sees 8-bit images, and those that fool it are left alone.

    Args:
        network: images in [0, 1] to logits.
        images: ``(N, 3, H, W)`` in [0, 1], in multiples of 1/255.
        labels: true classes, int64 ``(N,)``.
        loss: ``cross_entropy`` (APGD-CE) or ``logits_ratio`` (APGD-DLR).
        norm: ``linf`` or ``l2``.
        radius: the bound, in units of 1/255.
        iterations: gradients an image.
        surplus: see `pgd`.
        generator: draws where in the ball to start.

    Returns:
        Images ``(N, 3, H, W)`` in [0, 1], in multiples of 1/255, inside the ball: where none fooled
        the network, those with the highest loss.
    """
    whole = Ball(images, norm, radius)
    found = whole.stored(images)
    start = whole.random(generator)
    n, device = len(images), images.device
    nothing, zeros = torch.full((n,), -torch.inf, device=device), torch.zeros(n, device=device)
    step = torch.full((n, 1, 1, 1), 2.0 * radius, device=device)
    state = Climb(
        index=torch.arange(n, device=device),
        moved=start,
        previous=start,
        step=step,
        best=start,
        best_gradient=torch.zeros_like(start),
        best_value=nothing,
        value=nothing,
        rises=zeros,
        checked_step=step,
        checked_value=nothing,
    )
    window = max(int(0.22 * iterations), 1)
    since = 0
    for iteration in progress(range(iterations), "iterations, at most", iterations):
        ball = whole[state.index]
        seen = ball.stored(state.moved)
        value, gradient, excess = gradient_of(network, seen, labels[state.index], LOSSES[loss])
        state.rises = state.rises + (value > state.value)
        state.value = value
        better = value > state.best_value
        found[state.index[better]] = seen[better]
        state.best_value = torch.where(better, value, state.best_value)
        wide = better[:, None, None, None]
        state.best = torch.where(wide, state.moved, state.best)
        state.best_gradient = torch.where(wide, gradient, state.best_gradient)
        found[state.index[excess > surplus]] = seen[excess > surplus]
        holding = excess <= surplus
        if not holding.any():
            break
        if not holding.all():
            state, gradient, ball = state[holding], gradient[holding], ball[holding]
        since += 1
        if since == window:
            # Conditions 1 and 2 of the paper's Section 3.
            wavered = state.rises < RHO * window
            stuck = (state.checked_step == state.step).flatten() & (
                state.checked_value == state.best_value
            )
            halved = (wavered | stuck)[:, None, None, None]
            state.checked_step, state.checked_value = state.step, state.best_value
            state.step = torch.where(halved, state.step / 2, state.step)
            state.previous = torch.where(halved, state.best, state.previous)
            state.moved = torch.where(halved, state.best, state.moved)
            gradient = torch.where(halved, state.best_gradient, gradient)
            state.rises = torch.zeros_like(state.rises)
            window = max(window - max(int(0.03 * iterations), 1), max(int(0.06 * iterations), 1))
            since = 0
        straight = ball.project(state.moved + state.step * ball.steepest(gradient))
        alpha = ALPHA if iteration else 1.0
        momentum = (1 - alpha) * (state.moved - state.previous)
        ahead = ball.project(state.moved + alpha * (straight - state.moved) + momentum)
        state.previous, state.moved = state.moved, ahead
    return found
