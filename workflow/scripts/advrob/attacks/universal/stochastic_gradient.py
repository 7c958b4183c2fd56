"""A universal perturbation by stochastic gradient ascent: one gradient a batch."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advrob.attacks.universal.search import Search, Universal, search
from advrob.files.store import Images

# Adam's decay rates, as in its paper. Its epsilon only keeps 0 / 0 away: a pixel's gradient is many
# orders of magnitude smaller than a weight's, for which 1e-8 is meant.
BETA_1 = 0.9
BETA_2 = 0.999
EPSILON = 1e-12


def universal_gradient(
    network: nn.Module,
    images: Images,
    held_out: Images,
    *,
    device: torch.device,
    generator: torch.Generator,
    norm: str,
    radius: float,
    fooling_rate: float = 1.0,
    passes: int = 3,
    batch_size: int = 20,
    step: float = 2.0,
    beta: float = 9.0,
    checkpoint: Path | None = None,
    noise: torch.Generator | None = None,
) -> Universal:
    """Find a universal perturbation by ascending a truncated loss.

    Shafahi, Najibi, Xu, Dickerson, Davis and Goldstein, "Universal adversarial training" (2018),
    Section 4: each batch moves the perturbation along the gradient of the mean of
    min(cross-entropy, ``beta``), and the result is projected onto the ball. The truncation keeps a
    few images that are fooled by far from setting the direction. The loss is that of the network's
    own predictions, so no labels are needed.

    The ascent is Adam's, with a rate that falls linearly to zero over all passes. On GoogLeNet, one
    pass over 2,000 images, l_inf 10 and constant rates, Adam in batches of 20 fooled 0.79 of 500
    other images and steps along the gradient's sign 0.67, in batches of 50 only 0.53: small batches
    pay.

    Args:
        network: see `universal.search.universal`, as are ``images`` up to ``radius``.
        images: the images to fool, uint8 ``(N, H, W, 3)``, read in slices.
        held_out: images to measure the fooling rate on, of the same kind.
        device: where ``network`` is.
        generator: orders the images.
        norm: ``linf`` (Adam's scale for each value) or ``l2`` (one scale for all values).
        radius: the bound of the perturbation's norm, in units of 1/255.
        fooling_rate: the search ends after the pass that reaches this rate on ``images``.
        passes: how many passes over ``images``.
        batch_size: images at a time.
        step: Adam's rate at the start, about how far a value first moves, in units of 1/255.
        beta: where the cross-entropy of an image is cut off.
        checkpoint: see `advrob.attacks.universal.search.universal`, as for ``noise``.
        noise: what a stochastic network draws from.
    """
    updates = passes * math.ceil(len(images) / batch_size)

    def update(state: Search, batch: Tensor, predicted: Tensor) -> Tensor:
        perturbation = state.perturbation.clone().requires_grad_()
        with torch.enable_grad():
            moved = (batch + perturbation / 255).clamp(0, 1)
            loss = F.cross_entropy(network(moved), predicted, reduction="none").clamp(max=beta)
        (gradient,) = torch.autograd.grad(loss.mean(), perturbation)
        square = gradient.square()
        if norm == "l2":
            # One scale for all values keeps the gradient's direction, the steepest in l_2.
            square = square.mean()
        memory = state.memory or {"mean": 0 * gradient, "square": 0 * square}
        state.memory = {
            "mean": memory["mean"].lerp(gradient, 1 - BETA_1),
            "square": memory["square"].lerp(square, 1 - BETA_2),
        }
        mean = state.memory["mean"] / (1 - BETA_1 ** (state.updates + 1))
        square = state.memory["square"] / (1 - BETA_2 ** (state.updates + 1))
        rate = step * (1 - state.updates / updates)
        return state.perturbation + rate * mean / (square.sqrt() + EPSILON)

    return search(
        update,
        network,
        images,
        held_out,
        device=device,
        generator=generator,
        norm=norm,
        radius=radius,
        wanted=fooling_rate,
        passes=passes,
        batch_size=batch_size,
        checkpoint=checkpoint,
        noise=noise,
        step=step,
        beta=beta,
    )
