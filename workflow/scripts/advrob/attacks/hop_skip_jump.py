"""HopSkipJump: nothing but the network's decisions, for networks that hide even their logits."""

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from torch import Tensor

from advrob.attacks import Attack, Task
from advrob.attacks.bounds import Ball, sizes
from advrob.job.progress import progress

# The queries of the first estimate of a gradient (Chen et al. 2020, Section 5), and the most images
# among which a first wrong one is sought.
FIRST, STARTS = 100, 25
# The radius of the estimate as a share of the distance. The paper's, the inverse of the number of
# values in an image, is below what float32 resolves in a photograph.
PROBED = 0.05
# How often a jump is halved before the image stays where it is.
HALVINGS = 8

# From images (n, 3, H, W) to whether the network gets them wrong, (n,).
Decision = Callable[[Tensor], Tensor]


class HopSkipJump(Attack):
    """HopSkipJump: walks along the boundary, using only the predicted class.

    Chen, Jordan and Wainwright, "HopSkipJumpAttack: a query-efficient decision-based attack"
    (2020), Algorithm 2, from another image of the batch or a random one. It reads the class that
    the network gives and nothing else, so an image is fooled by any other class; a surplus is not
    looked at.

    Args:
        norm: the norm that is minimised and bounded.
        radius: the bound, in units of 1/255.
        queries: maximum number of queries per image.
    """

    needs_gradient = False
    effort = "queries"

    def __init__(
        self,
        *,
        norm: Literal["linf", "l2"],
        radius: Annotated[float, {"exclusiveMinimum": 0, "levels": True}],
        queries: Annotated[int, {"minimum": 50}] = 5000,
    ) -> None:
        self.norm, self.radius, self.queries = norm, radius, queries

    @torch.no_grad()
    def perturb(self, task: Task) -> Tensor:
        """See `Attack`; where nothing within the radius was found, the image itself."""
        images, generator = task.images, task.generator
        adversarial, whole = images.clone(), Ball(images, self.norm, self.radius)

        def decision(rows: Tensor) -> Decision:
            return lambda asked: task.network(asked).argmax(dim=1) != task.labels[rows]

        rows = torch.arange(len(images), device=images.device)
        rows = rows[~decision(rows)(images)]
        rows, moved, spent = begin(decision, images, rows, generator)
        plan = estimates(self.queries - 1 - spent, images[0].numel())
        for number, probes in enumerate(progress(plan, "estimates, at most", len(plan))):
            if len(rows) == 0:
                break
            wrong, origin = decision(rows), images[rows]
            if number == 0:
                moved = search(wrong, origin, moved, self.norm)
            size = sizes(moved - origin, self.norm)
            reach = PROBED * sizes(moved - origin, "l2")
            direction = estimate(wrong, moved, reach, probes, self.norm, generator)
            moved = jump(wrong, moved, direction, size / (number + 1) ** 0.5)
            moved = search(wrong, origin, moved, self.norm)
            # As far beyond the boundary as is allowed, to make up for what rounding takes back.
            size = sizes(moved - origin, self.norm)
            stretched = origin + (moved - origin) * (self.radius / 255 / size)
            seen = whole[rows].filled(stretched.clamp(0, 1))
            done = (size * 255 <= self.radius).flatten() & wrong(seen)
            adversarial[rows[done]] = seen[done]
            rows, moved = rows[~done], moved[~done]
        return adversarial


def bisections(values: int) -> int:
    """How often a way to the boundary is halved, for images of so many values.

    A random probe moves across the boundary by its length over the square root of that number; the
    point that is probed has to be nearer to the boundary than this.
    """
    return math.ceil(math.log2(values**0.5 / PROBED)) + 1


def estimates(queries: int, values: int) -> list[int]:
    """The number of probes of each estimate, which grows, such that all queries fit.

    Args:
        queries: how often the network may be asked about an image in all.
        values: how many values an image has.
    """
    plan: list[int] = []
    remaining = queries - bisections(values)
    while True:
        probes = int(min(FIRST, max(queries // 4, 1)) * (len(plan) + 1) ** 0.5)
        remaining -= probes + HALVINGS + bisections(values) + 1
        if remaining < 0:
            return plan
        plan.append(probes)


def begin(
    decision: Callable[[Tensor], Decision],
    images: Tensor,
    rows: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, int]:
    """Images to begin with that the network gets wrong: others of the batch, or random ones.

    Returns:
        The indices of the images that have such a start, int64 ``(n,)``, the starts, and how often
        the network was asked about each image.
    """
    start = torch.zeros_like(images[rows])
    has_start = torch.zeros(len(rows), dtype=torch.bool, device=images.device)
    spent = 0
    while spent < STARTS and not has_start.all():
        if spent % 2 == 0:
            shift = torch.randint(
                len(images), (1,), generator=generator, device=generator.device
            ).to(rows)
            tried = images[(rows + shift) % len(images)]
        else:
            noise = torch.rand(start.shape, generator=generator, device=generator.device)
            tried = noise.to(start)
        hit = ~has_start & decision(rows)(tried)
        start[hit], has_start, spent = tried[hit], has_start | hit, spent + 1
    return rows[has_start], start[has_start], spent


def search(wrong: Decision, origin: Tensor, moved: Tensor, norm: str) -> Tensor:
    """The point nearest to the originals on the way to images that the network gets wrong."""
    size = sizes(moved - origin, norm)
    low, high = torch.zeros_like(size), torch.ones_like(size)

    def between(share: Tensor) -> Tensor:
        if norm == "l2":
            return origin + share * (moved - origin)
        return torch.minimum(torch.maximum(moved, origin - share * size), origin + share * size)

    for _ in range(bisections(origin[0].numel())):
        middle = (low + high) / 2
        hit = wrong(between(middle))[:, None, None, None]
        low, high = torch.where(hit, low, middle), torch.where(hit, middle, high)
    return between(high)


def estimate(
    wrong: Decision,
    moved: Tensor,
    reach: Tensor,
    probes: int,
    norm: str,
    generator: torch.Generator,
) -> Tensor:
    """The direction in which the network goes wrong, from random probes (equation 16).

    Args:
        wrong: the network's decisions.
        moved: points on the boundary, ``(n, 3, H, W)``.
        reach: how far from them the probes are, ``(n, 1, 1, 1)``.
        probes: how many.
        norm: ``l2`` for a direction of length 1, ``linf`` for signs.
        generator: draws the probes.
    """
    total, signed = torch.zeros_like(moved), torch.zeros_like(moved)
    balance = torch.zeros_like(reach)
    for _ in range(probes):
        probe = torch.randn(moved.shape, generator=generator, device=generator.device).to(moved)
        aimed = moved + reach * probe / sizes(probe, "l2")
        probe = (aimed.clamp(0, 1) - moved) / reach
        sign = 2 * wrong(moved + reach * probe).to(moved)[:, None, None, None] - 1
        total, signed, balance = total + probe, signed + sign * probe, balance + sign
    # Less the mean decision, which lowers the variance, unless all probes agree.
    mean = balance / probes
    slope = signed - torch.where(mean.abs() < 1, mean, 0) * total
    return slope.sign() if norm == "linf" else slope / sizes(slope, "l2")


def jump(wrong: Decision, moved: Tensor, direction: Tensor, step: Tensor) -> Tensor:
    """Away from the boundary, by half of the step until the network is still wrong."""
    landed = torch.zeros(len(moved), dtype=torch.bool, device=moved.device)
    ahead = moved
    for _ in range(HALVINGS):
        tried = (moved + step * direction).clamp(0, 1)
        hit = wrong(tried) & ~landed
        ahead = torch.where(hit[:, None, None, None], tried, ahead)
        landed, step = landed | hit, step / 2
        if landed.all():
            break
    return ahead
