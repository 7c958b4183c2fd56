"""The Square attack: no gradients, only answers of the network."""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from advrob.attacks import Attack, holding
from advrob.attacks.bounds import Ball
from advrob.attacks.losses import margin
from advrob.job.progress import progress

# The share of an image that a square covers at first, and the queries, out of 10,000, after which
# it is halved (Andriushchenko et al. 2020, Section 5).
SHARE = 0.8
HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


class Square(Attack):
    """Square: moves random squares to the faces of the ball, keeping those that help.

    Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via random
    search" (2020), Algorithms 1 and 2, with the margin for a loss. It looks at nothing but the
    logits, so that a defence which hides its gradients hides nothing from it.

    Args:
        radius: the most that a pixel may move, in units of 1/255; rounded down where images
            are stored in 8 bits.
        queries: how often the network is asked about an image.
        levels: 256 to store images in 8 bits, null as real numbers.
    """

    needs_gradient = False
    norms = ("linf",)
    effort = "queries"

    def __init__(
        self,
        *,
        radius: Annotated[float, {"exclusiveMinimum": 0, "levels": True}],
        queries: Annotated[int, {"minimum": 1}] = 5000,
        levels: Literal[256] | None = 256,
    ) -> None:
        self.radius, self.queries, self.levels = radius, queries, levels

    @torch.no_grad()
    def __call__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        generator: torch.Generator,
        surplus: float = 0.0,
    ) -> Tensor:
        """See `Attack`."""
        n, channels, height, width = images.shape
        device, ball = images.device, Ball(images, "linf", self.radius, self.levels)
        reach = (self.radius if self.levels is None else int(self.radius)) / 255

        def signs(*shape: int) -> Tensor:
            drawn = torch.randint(2, shape, generator=generator, device=generator.device)
            return drawn.to(device).float().mul_(2).sub_(1)

        def corners(count: int, places: int) -> Tensor:
            drawn = torch.randint(places, (count, 1), generator=generator, device=generator.device)
            return drawn.to(device)

        # Vertical stripes to begin with.
        striped = (images + reach * signs(n, channels, 1, width)).clamp_(0, 1)
        found, value = images.clone(), torch.full((n,), torch.inf, device=device)
        active = holding(network, images, labels, surplus)
        if len(active) == 0:
            return found
        found[active] = striped[active]
        value[active] = margin(network(striped[active]), labels[active])
        for query in progress(range(1, self.queries), "queries, at most", self.queries - 1):
            active = (value <= surplus).nonzero()[:, 0]
            if len(active) == 0:
                break
            side = square_side(query / self.queries, height, width)
            rows = torch.arange(height, device=device) - corners(len(active), height - side + 1)
            columns = torch.arange(width, device=device) - corners(len(active), width - side + 1)
            inside = ((rows >= 0) & (rows < side))[:, None, :, None]
            inside = inside & ((columns >= 0) & (columns < side))[:, None, None, :]
            faces = images[active] + reach * signs(len(active), channels, 1, 1)
            tried = torch.where(inside, faces.clamp_(0, 1), found[active])
            reached = margin(network(tried), labels[active])
            better = reached > value[active]
            found[active[better]] = tried[better]
            value[active[better]] = reached[better]
        return ball.stored(found)


def square_side(done: float, height: int, width: int) -> int:
    """The side of a square in pixels after a share of all queries."""
    halvings = sum(done * 10_000 > limit for limit in HALVED_AT)
    side = round((SHARE / 2**halvings * height * width) ** 0.5)
    return min(max(side, 1), height, width)
