"""The paper's gradient attack: every image towards a random target of its own."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advrob.attacks.bounds import Ball
from advrob.job.progress import progress


def random_targets(
    labels: Tensor, classes: int, generator: torch.Generator, *, among: Tensor | None = None
) -> Tensor:
    """A class for each image, uniform over all but the image's own.

    Args:
        labels: the classes to avoid, int64 ``(N,)``: true labels or predictions.
        classes: how many classes there are, at least two.
        generator: a CPU generator.
        among: the classes to draw from, int64, ascending; all by default.
    """
    among = torch.arange(classes) if among is None else among
    among = among.to(labels.device)
    # A shift by 1 to the number of classes - 1, modulo it, reaches every other class once and
    # itself never.
    shifts = torch.randint(1, len(among), labels.shape, generator=generator).to(labels.device)
    return among[(torch.searchsorted(among, labels) + shifts) % len(among)]


def targeted(
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    radius: float,
    step: float = 1.0,
    iterations: int = 100,
    confidence: float | None = None,
) -> Tensor:
    """Move images towards target classes, no pixel further than ``radius``.

    The iterative method of Kurakin, Goodfellow and Bengio, "Adversarial examples in the physical
    world" (2017), Section 2.3, with a chosen target instead of the least likely class; Section 5
    of the reproduced paper with its 100 iterations. Each iteration descends the cross-entropy to
    the target (equation 4) by the sign of its gradient.

    Args:
        network: images in [0, 1] to logits.
        images: ``(N, 3, H, W)`` in [0, 1], in multiples of 1/255.
        targets: the target classes, int64 ``(N,)``.
        radius: the most that a pixel may move, in units of 1/255; need not be whole.
        step: how far a pixel moves in an iteration, in units of 1/255.
        iterations: how many iterations.
        confidence: leave an image alone as soon as the network gives its target this probability;
            without it, as in the paper, every image goes through every iteration.

    Returns:
        Images ``(N, 3, H, W)`` in [0, 1], in multiples of 1/255: stored as 8 bits they stay as they
        are, and within ``radius`` of the originals.
    """
    images = images.detach()
    lower = (images - radius / 255).clamp_(min=0)
    upper = (images + radius / 255).clamp_(max=1)
    adversarial = images.clone()
    active = torch.arange(len(images), device=images.device)
    for _ in progress(range(iterations), "iterations, at most", iterations):
        moved = adversarial[active].requires_grad_()
        with torch.enable_grad():
            logits = network(moved)
            # The sum, not the mean: an image's gradient does not depend on the batch's size.
            loss = F.cross_entropy(logits, targets[active], reduction="sum")
        (gradient,) = torch.autograd.grad(loss, moved)
        if confidence is not None:
            reached = logits.detach().softmax(dim=1).gather(1, targets[active, None])[:, 0]
            active, gradient = active[reached < confidence], gradient[reached < confidence]
            if len(active) == 0:
                break
        stepped = adversarial[active].sub_(gradient.sign_(), alpha=step / 255)
        adversarial[active] = stepped.clamp_(lower[active], upper[active])
    return Ball(images, "linf", radius).stored(adversarial)
