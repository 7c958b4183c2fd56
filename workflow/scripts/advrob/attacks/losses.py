"""Losses for untargeted attacks: larger is worse for the network. Logits ``(N, C)`` to ``(N,)``."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advrob.errors import UserError


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
    _refuse_fewer_classes(logits, 3)
    first, _, third = logits.topk(3, dim=1).values.unbind(dim=1)
    return margin(logits, labels) / (first - third + 1e-12)


def targeted_ratio(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The targeted ratio of logits (Croce and Hein 2020, equation 7): a chosen class's margin.

    Like `difference_of_logits_ratio` in units of the logits' own spread. It needs four classes.

    Args:
        logits: ``(N, C)``.
        labels: true classes, int64 ``(N,)``.
        targets: the classes that are to win, int64 ``(N,)``.
    """
    _refuse_fewer_classes(logits, 4)
    first, _, third, fourth = logits.topk(4, dim=1).values.unbind(dim=1)
    gap = (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None]))[:, 0]
    return gap / (first - (third + fourth) / 2 + 1e-12)


def _refuse_fewer_classes(logits: Tensor, needed: int) -> None:
    if logits.shape[1] < needed:
        raise UserError(
            f"attack: a ratio of logits needs at least {needed} classes, the network has "
            f"{logits.shape[1]}. Choose kind: apgd with loss: margin."
        )


Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "margin": margin,
    "logits_ratio": difference_of_logits_ratio,
}


def gradient_of(
    network: nn.Module, images: Tensor, labels: Tensor, loss: Loss = cross_entropy
) -> tuple[Tensor, Tensor, Tensor]:
    """One forward and backward pass.

    Args:
        network: images in [0, 1] to logits.
        images: ``(N, 3, H, W)``.
        labels: true classes, int64 ``(N,)``.
        loss: of `advrob.attacks.losses`.

    Returns:
        The loss ``(N,)``, its gradient ``(N, 3, H, W)``, and the `margin` ``(N,)``.
    """
    probed = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = network(probed)
        values = loss(logits, labels)
        # The sum, not the mean: an image's gradient does not depend on the batch's size.
        (gradient,) = torch.autograd.grad(values.sum(), probed)
    return values.detach(), gradient, margin(logits.detach(), labels)
