"""How far an attack may move an image, and what is left of that in 8 bits."""

from dataclasses import dataclass

import torch
from torch import Tensor

# A rounded image outside an l_2 ball is drawn in until it is inside; once is nearly always enough.
ROUNDS = 20


@dataclass(frozen=True)
class Ball:
    """The images within a distance of originals.

    Attributes:
        originals: ``(N, 3, H, W)`` in [0, 1], in multiples of 1/255.
        norm: ``linf``, the largest change of a pixel and channel, or ``l2``, the Euclidean length
            of the change.
        radius: the distance, in units of 1/255.
    """

    originals: Tensor
    norm: str
    radius: float

    def __getitem__(self, chosen: Tensor) -> "Ball":
        """The balls of some of the images."""
        return Ball(self.originals[chosen], self.norm, self.radius)

    def project(self, images: Tensor) -> Tensor:
        """The nearest images inside, clipped to [0, 1], which takes them no further away."""
        moves = images - self.originals
        if self.norm == "linf":
            moves = moves.clamp_(-self.radius / 255, self.radius / 255)
        else:
            moves = moves * (self.radius / 255 / lengths(moves)).clamp_(max=1)
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
        """Images in multiples of 1/255 that are near to ``images`` and not outside.

        The last whole level inside a bound that is not whole is the bound; a change whose rounding
        makes it too long is shortened.
        """
        levels = (self.originals * 255).round_()
        moves = (images * 255).round_() - levels
        if self.norm == "linf":
            whole = int(self.radius)
            return moves.clamp_(-whole, whole).add_(levels).clamp_(0, 255) / 255
        wanted = images * 255 - levels
        for _ in range(ROUNDS):
            excess = lengths(moves) / self.radius
            if (excess <= 1).all():
                break
            wanted = torch.where(excess > 1, wanted * (0.999 / excess), wanted)
            moves = wanted.round()
        moves = torch.where(lengths(moves) > self.radius, moves.new_zeros(()), moves)
        return (levels + moves).clamp_(0, 255) / 255


def lengths(moves: Tensor) -> Tensor:
    """Euclidean lengths of ``(N, 3, H, W)``, ``(N, 1, 1, 1)``, at least the smallest number."""
    tiny = torch.finfo(moves.dtype).tiny
    return torch.linalg.vector_norm(moves, dim=(1, 2, 3), keepdim=True).clamp_(min=tiny)
