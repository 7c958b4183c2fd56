"""What untargeted attacks climb: larger is worse for the network. Logits ``(N, C)`` to ``(N,)``."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The best other class's logit less the label's: above 0 the network is fooled."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(dim=1) - own[:, 0]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Minus the logarithm of the label's probability."""
    return F.cross_entropy(logits, labels, reduction="none")


def difference_of_logits_ratio(logits: Tensor, labels: Tensor) -> Tensor:
    """`margin` in units of the logits' own spread (Croce and Hein 2020, equation 6).

    Neither a shift nor a scaling of the logits changes it, so a network cannot hide its gradient by
    being very certain. It needs three classes.
    """
    first, _, third = logits.topk(3, dim=1).values.unbind(dim=1)
    return margin(logits, labels) / (first - third + 1e-12)


Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "logits_ratio": difference_of_logits_ratio,
}
