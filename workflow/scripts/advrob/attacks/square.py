"""The Square attack: no gradients, only answers of the network."""

from typing import Annotated, Literal

import torch
from torch import Tensor

from advrob.attacks import Attack, Task
from advrob.attacks.bounds import Ball, lengths
from advrob.attacks.losses import margin
from advrob.job.progress import progress

# The share of an image that a square covers at first, and the queries, out of 10,000, after which
# it is halved (Andriushchenko et al. 2020, Section 5).
SHARE = 0.8
HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
# The first move in l_2 is a grid of so many squares a side, and no square is smaller than this.
GRID, SMALLEST = 5, 3


class Square(Attack):
    """Square: changes random squares, keeping the changes that help.

    Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via random
    search" (2020), Algorithms 1 to 3, with the margin for a loss. It looks at nothing but the
    logits, so that a defence which hides its gradients hides nothing from it.

    Args:
        norm: the norm that is bounded.
        radius: the bound, in units of 1/255; in l_inf it is rounded down for 8-bit images.
        queries: number of queries per image.
        levels: 256 to work on 8-bit images, null to work on real numbers.
    """

    needs_gradient = False
    effort = "queries"

    def __init__(
        self,
        *,
        norm: Literal["linf", "l2"] = "linf",
        radius: Annotated[float, {"exclusiveMinimum": 0, "levels": True}],
        queries: Annotated[int, {"minimum": 1}] = 5000,
        levels: Literal[256] | None = 256,
    ) -> None:
        self.norm, self.radius, self.levels = norm, radius, levels
        self.queries = queries

    @torch.no_grad()
    def perturb(self, task: Task) -> Tensor:
        """See `Attack`."""
        whole = Ball(task.images, self.norm, self.radius, self.levels)
        begin, change = (stripes, flat) if self.norm == "linf" else (tiles, peaked)
        first = begin(whole, task.generator)
        adversarial = task.images.clone()
        margins = torch.full((len(first),), torch.inf, device=first.device)
        active = task.holding()
        if len(active) == 0:
            return adversarial
        adversarial[active] = first[active]
        margins[active] = margin(task.network(first[active]), task.labels[active])
        for query in progress(range(1, self.queries), "queries, at most", self.queries - 1):
            active = (margins <= task.surplus).nonzero()[:, 0]
            if len(active) == 0:
                break
            share = query / self.queries
            tried = change(whole[active], adversarial[active], share, task.generator)
            margins_now = margin(task.network(tried), task.labels[active])
            better = margins_now > margins[active]
            adversarial[active[better]] = tried[better]
            margins[active[better]] = margins_now[better]
        return whole.stored(adversarial)


def stripes(ball: Ball, generator: torch.Generator) -> Tensor:
    """The first move in l_inf: vertical stripes of random colours, as far as the ball allows."""
    n, channels, _, width = ball.originals.shape
    colours = _signs((n, channels, 1, width), generator, ball.originals)
    return (ball.originals + _reach(ball) * colours).clamp_(0, 1)


def flat(ball: Ball, moved: Tensor, done: float, generator: torch.Generator) -> Tensor:
    """Images with a square of one random colour, as far as an l_inf ball allows (Algorithm 2).

    Args:
        ball: ``n`` images.
        moved: the images as they have been moved so far, ``(n, 3, H, W)``.
        done: the share of all queries that is used up.
        generator: draws position and colour.
    """
    n, channels, height, width = moved.shape
    rows, columns = _positions(ball.originals, _side(done, height, width), generator)
    inside = (rows >= 0)[:, None, :, None] & (columns >= 0)[:, None, None, :]
    faces = ball.originals + _reach(ball) * _signs((n, channels, 1, 1), generator, moved)
    return torch.where(inside, faces.clamp_(0, 1), moved)


def tiles(ball: Ball, generator: torch.Generator) -> Tensor:
    """The first move in l_2: a grid of pairs of peaks."""
    n, channels, height, width = ball.originals.shape
    side = max(min(height, width) // GRID, 1)
    count = min(GRID, height, width)
    signs = _signs((n, channels, count, count), generator, ball.originals)
    moves = signs.repeat_interleave(side, dim=2).repeat_interleave(side, dim=3)
    moves = moves * _peaks(side).to(moves).repeat(count, count)
    whole = torch.zeros_like(ball.originals)
    whole[:, :, : count * side, : count * side] = moves
    return ball.stored(ball.originals + whole / lengths(whole) * (ball.radius / 255))


def peaked(ball: Ball, moved: Tensor, done: float, generator: torch.Generator) -> Tensor:
    """Images with a pair of peaks in a square, paid for by another square (Algorithm 3).

    What the move had of its length in both squares, and what the radius leaves, is given to the
    first of them, where two peaks of random signs are added to the move's direction; the move in
    the second ends. The arguments are those of `flat`.
    """
    n, channels, height, width = moved.shape
    side = min(max(_side(done, height, width), SMALLEST), height, width)
    move = moved - ball.originals
    first, second = (_positions(moved, side, generator) for _ in range(2))
    here, there = (
        ((rows >= 0)[:, None, :, None] & (columns >= 0)[:, None, None, :]).to(moved)
        for rows, columns in (first, second)
    )
    either = torch.maximum(here, there)
    peaks = _peaks(side).to(moved)[
        first[0].clamp(min=0)[:, :, None], first[1].clamp(min=0)[:, None]
    ]
    turned = (
        _peaks(side).to(moved).T[first[0].clamp(min=0)[:, :, None], first[1].clamp(min=0)[:, None]]
    )
    upright = _signs((n, 1, 1), generator, moved) > 0
    added = torch.where(upright, peaks, turned)[:, None] * here
    added = added * _signs((n, channels, 1, 1), generator, moved) + _unit(move * here)
    remaining = ((ball.radius / 255) ** 2 - lengths(move) ** 2).clamp(min=0) / channels
    freed = (move * either).square().sum(dim=(2, 3), keepdim=True)
    change = move * (1 - either) + _unit(added) * (remaining + freed).sqrt()
    return ball.stored(ball.originals + change)


def _reach(ball: Ball) -> float:
    return (ball.radius if ball.levels is None else int(ball.radius)) / 255


def _side(done: float, height: int, width: int) -> int:
    """The side of a square in pixels after a share of all queries."""
    halvings = sum(done * 10_000 > limit for limit in HALVED_AT)
    side = round((SHARE / 2**halvings * height * width) ** 0.5)
    return min(max(side, 1), height, width)


def _signs(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    drawn = torch.randint(2, shape, generator=generator, device=generator.device)
    return drawn.to(like.device).float().mul_(2).sub_(1)


def _positions(images: Tensor, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The rows ``(n, H)`` and columns ``(n, W)`` of a random square each; -1 outside of it."""
    axes = []
    for size in images.shape[2:]:
        corner = torch.randint(
            size - side + 1, (len(images), 1), generator=generator, device=generator.device
        )
        position = torch.arange(size, device=images.device) - corner.to(images.device)
        axes.append(torch.where((position >= 0) & (position < side), position, -1))
    return axes[0], axes[1]


def _peaks(side: int) -> Tensor:
    """Two peaks of opposite signs on the halves of a square, of length 1 (Section 3.4)."""
    peaks = torch.cat([_peak(side // 2, side), -_peak(side - side // 2, side)])
    return peaks / peaks.norm()


def _peak(height: int, width: int) -> Tensor:
    """Rings around the centre, each higher than the one outside by the inverse of its square."""
    rings = torch.arange(max(height, width) // 2 + 1)
    heights = (1.0 / (rings + 1) ** 2).flip(0).cumsum(0).flip(0)
    rows = (torch.arange(height) - height // 2).abs()
    columns = (torch.arange(width) - width // 2).abs()
    return heights[torch.maximum(rows[:, None], columns)]


def _unit(moves: Tensor) -> Tensor:
    """Every channel of every image divided by its length."""
    tiny = torch.finfo(moves.dtype).tiny
    return moves / torch.linalg.vector_norm(moves, dim=(2, 3), keepdim=True).clamp(min=tiny)
