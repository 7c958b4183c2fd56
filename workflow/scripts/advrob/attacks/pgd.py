"""Projected gradient descent: the plain untargeted attack on one image at a time."""

import torch
from torch import Tensor, nn

from advrob.attacks.bounds import Ball
from advrob.attacks.losses import Loss, cross_entropy, margin
from advrob.job.progress import progress


def gradient_of(
    network: nn.Module, images: Tensor, labels: Tensor, loss: Loss = cross_entropy
) -> tuple[Tensor, Tensor, Tensor]:
    """One pass there and back.

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


def pgd(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    norm: str,
    radius: float,
    step: float,
    iterations: int,
    surplus: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Raise the cross-entropy of the true class by steps of one length inside a ball.

    Projected gradient descent of Madry et al., "Towards Deep Learning Models Resistant to
    Adversarial Attacks" (2018), Section 2.1. The network sees every iterate as it would be stored,
    in 8 bits, so that what fools it there fools it afterwards; an image that does is left alone.

    Args:
        network: images in [0, 1] to logits.
        images: ``(N, 3, H, W)`` in [0, 1], in multiples of 1/255.
        labels: true classes, int64 ``(N,)``.
        norm: ``linf`` or ``l2``.
        radius: the bound, in units of 1/255.
        step: length of a step in the same norm and unit.
        iterations: number of steps.
        surplus: by how much another class's logit must exceed the label's before an image counts as
            fooled: what another precision or another draw may take back.
        generator: draws where in the ball to start; without it the start is the image.

    Returns:
        Images ``(N, 3, H, W)`` in [0, 1], in multiples of 1/255, inside the ball.
    """
    found = images.clone()
    active = torch.arange(len(images), device=images.device)
    ball = Ball(images, norm, radius)
    moved = images if generator is None else ball.random(generator)
    for _ in progress(range(iterations), "iterations, at most", iterations):
        found[active] = ball.stored(moved)
        _, gradient, excess = gradient_of(network, found[active], labels[active])
        holding = excess <= surplus
        active, ball, moved = active[holding], ball[holding], moved[holding]
        if len(active) == 0:
            break
        moved = ball.project(moved + step * ball.steepest(gradient[holding]))
    found[active] = ball.stored(moved)
    return found
