"""How far an attack may move an image, and how that is stored in 8 bits."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

# A rounded image outside an l_2 ball is drawn in until it is inside; once is nearly always enough.
ROUNDS = 20
# `Ball.filled` looks for the stretching of a move between 0.4 levels for its largest part, which
# rounds to nothing, and so many radii for it, in so many bisections.
WIDEST, BISECTIONS = 1e3, 20


@dataclass(frozen=True)
class Ball:
    """The images within a distance of originals.

    Attributes:
        originals: ``(N, 3, H, W)`` in [0, 1], in multiples of 1/255.
        norm: ``linf``, the largest change of a pixel and channel, or ``l2``, the Euclidean length
            of the change.
        radius: the distance, in units of 1/255.
        levels: 256 if images are stored in 8 bits, None if as real numbers.
    """

    originals: Tensor
    norm: str
    radius: float
    levels: int | None = 256

    def __getitem__(self, rows: Tensor) -> "Ball":
        """The balls of some of the images."""
        return replace(self, originals=self.originals[rows])

    def project(self, images: Tensor) -> Tensor:
        """The nearest images inside, clipped to [0, 1], which takes them no further away."""
        moves = within(images - self.originals, self.norm, self.radius / 255)
        return moves.add_(self.originals).clamp_(0, 1)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The move of length 1/255 along which a loss with this gradient rises most."""
        if self.norm == "linf":
            return gradient.sign() / 255
        return gradient / (255 * lengths(gradient))

    def random(self, generator: torch.Generator) -> Tensor:
        """Images drawn inside: pixels (linf) or directions and lengths (l2) uniformly."""
        shape, device = self.originals.shape, self.originals.device
        if self.norm == "linf":
            moves = 2 * torch.rand(shape, generator=generator, device=generator.device) - 1
        else:
            moves = torch.randn(shape, generator=generator, device=generator.device)
            share = torch.rand(shape[0], 1, 1, 1, generator=generator, device=generator.device)
            moves = moves / lengths(moves) * share
        return self.project(self.originals + moves.to(device) * (self.radius / 255))

    def stored(self, images: Tensor) -> Tensor:
        """The images as they are stored, rounded if need be, and inside the ball.

        With levels these are multiples of 1/255: the last whole level inside a bound that is not
        whole is the bound; a change whose rounding makes it too long is shortened. Real numbers
        are inside up to the rounding of float32.
        """
        if self.levels is None:
            return self.project(images)
        levels = (self.originals * 255).round_()
        moves = (images * 255).round_() - levels
        if self.norm == "linf":
            whole = int(self.radius)
            return moves.clamp_(-whole, whole).add_(levels).clamp_(0, 255) / 255
        unrounded = images * 255 - levels
        for _ in range(ROUNDS):
            excess = lengths(moves) / self.radius
            if (excess <= 1).all():
                break
            unrounded = torch.where(excess > 1, unrounded * (0.999 / excess), unrounded)
            moves = unrounded.round()
        moves = torch.where(lengths(moves) > self.radius, moves.new_zeros(()), moves)
        return (levels + moves).clamp_(0, 255) / 255

    def filled(self, images: Tensor) -> Tensor:
        """The images in multiples of 1/255 that move in a direction as far as the ball allows.

        Rounding a short move in l_2 loses it: spread over all pixels it is less than half a level
        everywhere. Here it is stretched until its largest parts are whole levels and its length is
        the radius. Of all moves on the lattice this is, but for the last few levels, the one with
        the largest inner product with the direction. In l_inf it is `stored`.

        Args:
            images: ``(N, 3, H, W)``; where they lie, seen from the originals, is the direction.
        """
        if self.norm == "linf":
            return self.stored(images)
        levels = (self.originals * 255).round_()
        direction = (images - self.originals) * 255

        def rounded(scale: Tensor) -> Tensor:
            return (levels + (scale * direction).round_()).clamp_(0, 255).sub_(levels)

        # Bisection: with `low` the move is short enough, with `high` it may be too long.
        peak = direction.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_(min=1e-30)
        low, high = 0.4 / peak, WIDEST * self.radius / peak
        for _ in range(BISECTIONS):
            middle = (low * high).sqrt()
            inside = lengths(rounded(middle)) <= self.radius
            low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
        moves = rounded(low)
        return (levels + self._topped_up(moves, direction, levels)).clamp_(0, 255) / 255

    def _topped_up(self, moves: Tensor, direction: Tensor, levels: Tensor) -> Tensor:
        """Add single levels, those that gain most for their length first, up to the radius."""
        signs = direction.sign()
        costs = 2 * moves.abs() + 1  # of the squared length
        possible = (levels + moves + signs).clamp(0, 255) == levels + moves + signs
        benefit = torch.where(possible, direction.abs() / costs, 0).flatten(1)
        benefit, order = benefit.sort(dim=1, descending=True)
        spent = costs.flatten(1).gather(1, order).cumsum(dim=1)
        remaining = self.radius**2 - lengths(moves).flatten(1) ** 2
        taken = ((spent <= remaining) & (benefit > 0)).float()
        return moves + signs * torch.zeros_like(benefit).scatter_(1, order, taken).view_as(moves)


def within(moves: Tensor, norm: str, radius: float | Tensor) -> Tensor:
    """The nearest moves whose norm is at most a radius: the projection onto the ball.

    Args:
        moves: ``(N, 3, H, W)``.
        norm: ``linf`` or ``l2``.
        radius: in the moves' unit: one for all, or under ``l2`` ``(N, 1, 1, 1)``.
    """
    if norm == "linf":
        bound = float(radius)
        return moves.clamp(-bound, bound)
    return moves * (radius / lengths(moves)).clamp_(max=1)


def lengths(moves: Tensor) -> Tensor:
    """Euclidean lengths of ``(N, 3, H, W)``, ``(N, 1, 1, 1)``, kept above 0 for divisions."""
    return sizes(moves, "l2")


def sizes(moves: Tensor, norm: str) -> Tensor:
    """The norms of ``(N, 3, H, W)``, ``(N, 1, 1, 1)``, kept above 0 for divisions."""
    order = {"linf": torch.inf, "l2": 2}[norm]
    tiny = torch.finfo(moves.dtype).tiny
    return torch.linalg.vector_norm(moves, order, dim=(1, 2, 3), keepdim=True).clamp_(min=tiny)
