"""The Square attack: no gradients, only answers of the network."""

import torch
from torch import Tensor, nn

from advrob.attacks.losses import margin
from advrob.job.progress import progress

# The share of an image that a square covers at first, and the queries, out of 10,000, after which
# it is halved (Andriushchenko et al. 2020, Section 5).
SHARE = 0.8
HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@torch.no_grad()
def square(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    radius: float,
    queries: int = 5000,
    surplus: float = 0.0,
    generator: torch.Generator,
) -> Tensor:
    """Move random squares to the faces of an l_inf ball, keeping those that lower the margin.

    Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via random
    search" (2020), Algorithms 1 and 2. It looks at nothing but the logits, so that a defence which
    hides its gradients hides nothing from it.

    Args:
        network: images in [0, 1] to logits.
        images: ``(N, 3, H, W)`` in [0, 1], in multiples of 1/255.
        labels: true classes, int64 ``(N,)``.
        radius: the most that a pixel may move, in units of 1/255; rounded down, as images are
            stored in 8 bits.
        queries: how often the network is asked about an image.
        surplus: see `pgd`.
        generator: draws squares and signs.

    Returns:
        Images ``(N, 3, H, W)`` in [0, 1], in multiples of 1/255, within ``radius``.
    """
    n, channels, height, width = images.shape
    device, reach = images.device, int(radius) / 255

    def signs(*shape: int) -> Tensor:
        drawn = torch.randint(2, shape, generator=generator, device=generator.device)
        return drawn.to(device).float().mul_(2).sub_(1)

    def corners(count: int, places: int) -> Tensor:
        drawn = torch.randint(places, (count, 1), generator=generator, device=generator.device)
        return drawn.to(device)

    # Vertical stripes to begin with.
    found = (images + reach * signs(n, channels, 1, width)).clamp_(0, 1)
    value = margin(network(found), labels)
    for query in progress(range(1, queries), "queries, at most", queries - 1):
        active = (value <= surplus).nonzero()[:, 0]
        if len(active) == 0:
            break
        halvings = sum(query * 10_000 / queries > limit for limit in HALVED_AT)
        side = round((SHARE / 2**halvings * height * width) ** 0.5)
        side = min(max(side, 1), height, width)
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
    return (found * 255).round_() / 255
