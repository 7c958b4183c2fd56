"""DeepFool: the smallest perturbation that changes a prediction, found by Newton steps."""

import torch
from torch import Tensor, nn

from advrob.job.progress import progress

# Added to every step so that it ends beyond the boundary and not on it, as in the authors' code:
# in l_2 over a whole image in [0, 1], hundreds of times smaller than what changes a prediction.
MARGIN = 1e-4


def deepfool(
    network: nn.Module,
    images: Tensor,
    *,
    classes: int = 10,
    overshoot: float = 0.02,
    steps: int = 50,
) -> Tensor:
    """Perturb each image to just beyond the nearest boundary of the network's decision.

    Moosavi-Dezfooli, Fawzi and Frossard, "DeepFool: a simple and accurate method to fool deep
    neural networks" (2016), Algorithm 2, in l_2. Each step moves an image onto the nearest of the
    boundaries as they would be if the network were linear. Images that are fooled leave the batch,
    so that only the others are computed.

    Args:
        network: images in [0, 1] to logits.
        images: ``(N, 3, H, W)`` in [0, 1].
        classes: how many of an image's most likely classes, its own among them, are considered.
        overshoot: the fraction by which the perturbation is longer than up to the boundary.
        steps: at most so many steps an image.

    Returns:
        Perturbations ``(N, 3, H, W)`` in units of [0, 1], overshoot included. An image plus its
        perturbation is not clipped. Where ``steps`` did not suffice, or no considered class has a
        gradient, the prediction is unchanged.
    """
    images = images.detach()
    with torch.no_grad():
        # A stable sort puts the class that argmax gives first, where logits are equal, too.
        ranked = network(images).argsort(dim=1, descending=True, stable=True)[:, :classes]
    perturbations = torch.zeros_like(images)
    unfooled = torch.arange(len(images), device=images.device)
    for _ in progress(range(steps), "DeepFool steps, at most", steps):
        start, rank = images[unfooled], ranked[unfooled]
        moved = perturbations[unfooled]
        moved += _step(network, start + (1 + overshoot) * moved, rank)
        perturbations[unfooled] = moved
        # Predicting apart from the next step's pass costs one forward pass, but spares those that
        # are fooled by now the backward passes of every class.
        with torch.no_grad():
            predicted = network(start + (1 + overshoot) * moved).argmax(dim=1)
        unfooled = unfooled[predicted == rank[:, 0]]
        if not len(unfooled):
            break
    return (1 + overshoot) * perturbations


def _step(network: nn.Module, images: Tensor, ranked: Tensor) -> Tensor:
    """The way to the nearest linearised boundary between ``ranked[:, 0]`` and the other classes."""
    with torch.enable_grad():
        images.requires_grad_()
        logits = network(images).gather(1, ranked)
        gaps = logits[:, 1:] - logits[:, :1]
        # One image's gap depends on that image alone, so the sum's gradient holds everyone's.
        totals = gaps.sum(dim=0).unbind()
    gaps = gaps.detach().abs()
    nearest = torch.full_like(gaps[:, 0], torch.inf)
    step = torch.zeros_like(images)
    # One backward pass a class through one graph. Measured on convolutional networks, repeating
    # the images for every class takes twice as long and ten times the memory, and vectorised
    # gradients (is_grads_batched) two to five times as long.
    for k, total in enumerate(totals):
        last = k == len(totals) - 1
        (normal,) = torch.autograd.grad(total, images, retain_graph=not last)
        length = normal.flatten(1).norm(dim=1)
        # Without a gradient the boundary is infinitely far, also where the gap is zero.
        distance = torch.where(length > 0, gaps[:, k] / length, torch.inf)
        closer = distance < nearest
        scale = ((distance + MARGIN) / length)[:, None, None, None]
        step = torch.where(closer[:, None, None, None], scale * normal, step)
        nearest = torch.where(closer, distance, nearest)
    return step
