"""FAB: the nearest image that a network gets wrong, by projections onto linearised boundaries."""

from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor

from advrob.attacks import Attack, Task, in_turn
from advrob.attacks.bounds import Ball, sizes
from advrob.attacks.lattice import onto_lattice
from advrob.attacks.losses import gradient_of, margin
from advrob.job.progress import progress

# The names are those of Croce and Hein, Algorithm 1, the values those of their experiments.
ALPHA_MAX = 0.1
ETA = 1.05
BETA = 0.9
# Further than any pixel can move, and finite, so that it can be multiplied by zero.
FAR = 1e30


class FastAdaptiveBoundary(Attack):
    """FAB-T: looks for the nearest point on the boundary to each likely wrong class.

    Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack"
    (2020), Algorithm 1, towards one wrong class after the other. It climbs no loss, so that neither
    the scale of the logits nor the radius matters on the way: an image is fooled if the nearest
    point on the way is within the radius. Iterates are real-valued; the result is rounded to 8 bits
    by `advrob.attacks.lattice`.

    Args:
        norm: the norm that is minimised and bounded.
        radius: the bound, in units of 1/255.
        targets: how many wrong classes are tried.
        iterations: gradients per image and target; each takes one more forward pass.
        random_start: whether to start at a random point within half of the radius instead of at the
            image itself, for a second try.
        levels: 256 to store 8-bit images, null to store real numbers.
    """

    effort = ("iterations", "targets")

    def __init__(
        self,
        *,
        norm: Literal["linf", "l2"],
        radius: Annotated[float, {"exclusiveMinimum": 0, "levels": True}],
        targets: Annotated[int, {"minimum": 1}] = 9,
        iterations: Annotated[int, {"minimum": 1}] = 100,
        random_start: bool = False,
        levels: Literal[256] | None = 256,
    ) -> None:
        self.norm, self.radius, self.levels = norm, radius, levels
        self.targets, self.iterations = targets, iterations
        self.random_start = random_start

    def perturb(self, task: Task) -> Tensor:
        """See `Attack`; an image that withstands may be returned as it is."""

        def towards(targets: Tensor, rows: Tensor) -> Tensor:
            ball = Ball(task.images[rows], self.norm, self.radius, self.levels)
            start = ball.originals
            if self.random_start:
                start = Ball(start, self.norm, self.radius / 2).random(task.generator)
            return approach(
                task[rows], ball, targets[rows], start=start, iterations=self.iterations
            )

        ranked = task.likely_targets(self.targets)
        return in_turn(task, [partial(towards, targets) for targets in ranked])


@torch.no_grad()
def approach(task: Task, whole: Ball, targets: Tensor, *, start: Tensor, iterations: int) -> Tensor:
    """FAB towards one class for each image, until an image in the ball fools the network.

    Args:
        task: N images that do not fool the network.
        whole: the same images, the norm, and how near the result has to be.
        targets: the classes to whose boundary to go, int64 ``(N,)``.
        start: the first iterates, ``(N, 3, H, W)``.
        iterations: gradients per image.

    Returns:
        Images ``(N, 3, H, W)`` as the ball stores them, inside it: the nearest that fooled the
        network, drawn in if it was outside; the original where none did.
    """
    network, labels, surplus = task.network, task.labels, task.surplus
    originals = whole.originals
    adversarial, nearest = originals.clone(), originals.clone()
    distance = torch.full((len(originals),), torch.inf, device=originals.device)
    rows, moved = torch.arange(len(originals), device=originals.device), start
    for _ in progress(range(iterations), "iterations, at most", iterations):
        if len(rows) == 0:
            break
        origin, own = originals[rows], labels[rows]
        lead, normal, _ = gradient_of(network, moved, own, partial(_lead, targets[rows], surplus))
        moved = _step(moved, origin, normal, lead, whole.norm)
        wrong = margin(network(moved), own) > surplus
        length = sizes(moved - origin, whole.norm).flatten()
        closer = wrong & (length < distance[rows])
        nearest[rows[closer]], distance[rows[closer]] = moved[closer], length[closer]
        inside = (closer & (length * 255 <= whole.radius)).nonzero()[:, 0]
        moved = torch.where(wrong[:, None, None, None], origin + BETA * (moved - origin), moved)
        if len(inside):
            stored = whole[rows[inside]].stored(nearest[rows[inside]])
            done = margin(network(stored), own[inside]) > surplus
            adversarial[rows[inside[done]]] = stored[done]
            unfooled = torch.ones_like(rows, dtype=torch.bool)
            unfooled[inside[done]] = False
            rows, moved = rows[unfooled], moved[unfooled]
    rows = rows[distance[rows] < torch.inf]
    if len(rows):
        projected = whole[rows].project(nearest[rows])
        if whole.levels is not None:
            projected = onto_lattice(network, whole[rows], projected, labels[rows], surplus=surplus)
        adversarial[rows] = projected
    return adversarial


def _lead(targets: Tensor, surplus: float, logits: Tensor, labels: Tensor) -> Tensor:
    """By how much the targets' logits exceed what fools the network, ``(N,)``."""
    gaps = logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None])
    return gaps[:, 0] - surplus


def _step(moved: Tensor, origin: Tensor, normal: Tensor, lead: Tensor, norm: str) -> Tensor:
    """Beyond the linearised boundary, between what is nearest to the iterate and to the image."""
    at_origin = lead + (normal * (origin - moved)).flatten(1).sum(dim=1)
    from_iterate = to_plane(moved, normal, lead, norm)
    from_origin = to_plane(origin, normal, at_origin, norm)
    own, other = sizes(from_iterate, norm), sizes(from_origin, norm)
    alpha = (own / (own + other).clamp(min=1e-30)).clamp(max=ALPHA_MAX)
    ahead = (1 - alpha) * (moved + ETA * from_iterate) + alpha * (origin + ETA * from_origin)
    return ahead.clamp(0, 1)


def to_plane(images: Tensor, normal: Tensor, value: Tensor, norm: str) -> Tensor:
    """The shortest moves of images onto hyperplanes, within [0, 1].

    A move ``d`` solves ``value + normal . d = 0``. With ``a`` the absolute normal and ``u`` how far
    each pixel can move in the direction that helps, the shortest is ``min(t b, u)``, where ``b`` is
    1 in l_inf and ``a`` in l_2: pixels move together until they meet 0 or 1. The gain,
    ``sum a min(t b, u)``, is piecewise linear in ``t`` with kinks at ``u / b``; after sorting them
    its cumulative sums give ``t`` exactly.

    Args:
        images: ``(N, 3, H, W)`` in [0, 1].
        normal: normals of the hyperplanes, of the same shape.
        value: values of the linear functions at the images, ``(N,)``.
        norm: ``linf`` or ``l2``.

    Returns:
        Moves of the same shape; where a hyperplane does not meet [0, 1], to the corner that is
        nearest to it.
    """
    direction = -value.sign()[:, None, None, None] * normal.sign()
    steepness = normal.abs()
    reach = torch.where(direction > 0, 1 - images, images)
    speed = torch.ones_like(steepness) if norm == "linf" else steepness
    kinks = torch.where(speed > 0, reach / speed, FAR).flatten(1).clamp(max=FAR)
    kinks, order = kinks.sort(dim=1)
    weights = (steepness * speed).flatten(1).gather(1, order).double()
    met = (weights * kinks).cumsum(dim=1)  # by pixels that have met 0 or 1 at each kink
    moving = weights.sum(dim=1, keepdim=True) - weights.cumsum(dim=1)  # slope of the others
    needed = value.abs().double()[:, None]
    # The segment on which the gain becomes enough begins at the last kink where it is too little.
    segment = torch.searchsorted(met + kinks * moving, needed)
    first = torch.zeros_like(met[:, :1])
    before = torch.cat([first, met], dim=1).gather(1, segment)
    slope = torch.cat([weights.sum(dim=1, keepdim=True), moving], dim=1).gather(1, segment)
    time = ((needed - before) / slope.clamp(min=1e-300)).clamp(0, FAR).to(images.dtype)
    return direction * torch.minimum(time[:, :, None, None] * speed, reach)
