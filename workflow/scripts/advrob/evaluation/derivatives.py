"""Measures whether a network's backward pass is the derivative of its forward pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Steps in units of 1/255: one so short that a piecewise smooth network is linear along it, and
# those that an attack takes, a longer one where the gradient is of no use for the one before:
# compression swallows most of a level.
SHORT, USEFUL = 0.02, (1.0, 4.0, 16.0)
# How far from 8-bit images the short step begins: there medians and maxima have no ties.
DITHER = 0.4
# Random directions of each image.
DIRECTIONS = 3
# A gradient is exact if it misses less than this share of what short steps change; networks of
# rectifiers miss up to a quarter, a gradient that has nothing to do with the network all of it.
MISSED = 0.5
# A gradient is useful if a step along its signs changes more than random steps by this factor; in
# d dimensions the best direction reaches the square root of d, a wrong one about 1.
USEFULNESS = 4.0
# A backward pass that leaves a smoothing step out predicts too much change along random directions;
# one that predicts less than this share hides something.
PREDICTED = 0.7
# Below this length a gradient is none: its square is 0 in float32.
VANISHED = 1e-20

Kind = Literal[
    "exact", "straight-through", "masked", "disconnected", "not finite", "vanishing", "unknown"
]


@dataclass(frozen=True)
class Probe:
    """How good the backward pass is.

    Attributes:
        kind: ``exact``, the derivative of the forward pass; ``straight-through``, an approximation
            of it that leads the right way; ``masked``, neither; ``disconnected``, ``not finite``
            and ``vanishing``, no gradient at all; ``unknown``, where two passes cannot be given
            the same random numbers.
        missed: the share (root mean square) of what short random steps change that the gradient
            does not predict.
        usefulness: how many times as much a step along the gradient's signs changes as random steps
            of the same size, of one level or of the first size at which it is useful.
        silent: the share of images whose cross-entropy has no gradient, though the margin has one.
    """

    kind: Kind
    missed: float = float("nan")
    usefulness: float = float("nan")
    silent: float = float("nan")


@contextmanager
def same_draws(network: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """The network's forward pass, with the same random numbers each time.

    It resets the generators that the network's modules hold, and PyTorch's own, and leaves them as
    they were.
    """
    held = {
        id(value): value
        for module in network.modules()
        for value in vars(module).values()
        if isinstance(value, torch.Generator)
    }
    states = {key: generator.get_state() for key, generator in held.items()}

    def reset() -> None:
        for key, generator in held.items():
            generator.set_state(states[key])

    def forward(images: Tensor) -> Tensor:
        reset()
        devices = [images.device] if images.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(0)
            return network(images)

    try:
        yield forward
    finally:
        reset()


def probe(network: nn.Module, images: Tensor, generator: torch.Generator) -> Probe:
    """Compare the gradient of the margin with central differences.

    The margin is the highest logit less the second highest, for the two classes that these are at
    the image. Along random signs, short steps tell whether the gradient is exact; along the
    gradient's own signs, steps of one level tell whether it is useful.

    Args:
        network: images in [0, 1] to logits.
        images: ``(N, 3, H, W)`` in [0, 1], in multiples of 1/255; four are enough.
        generator: draws directions.
    """
    with same_draws(network) as forward:
        with torch.no_grad():
            if not torch.equal(forward(images), forward(images)):
                return Probe("unknown")
        gradients = _gradients(forward, images)
        if isinstance(gradients, Probe):
            return gradients
        classes, gradient, silent = gradients

        def margins(seen: Tensor) -> Tensor:
            with torch.no_grad():
                top_two = forward(seen).gather(1, classes).double()
            return top_two[:, 0] - top_two[:, 1]

        def slopes(start: Tensor, direction: Tensor, step: float) -> Tensor:
            move = direction * (step / 255)
            return (margins(start + move) - margins(start - move)) / (2 * step / 255)

        directions = [_signs(images, generator) for _ in range(DIRECTIONS)]
        usefulness, changed = -torch.inf, images.new_zeros(())
        for step in USEFUL:
            random = torch.stack([slopes(images, each, step) for each in directions])
            changed = random.square().mean()
            size = random.square().mean(dim=0).sqrt().clamp(min=1e-30)
            along = slopes(images, gradient.sign(), step)
            usefulness = max(usefulness, (along / size).median().item())
            if usefulness >= USEFULNESS:
                break
        missed, exact = _missed(forward, slopes, images, classes, directions, generator)
        flat = torch.stack([slopes(images, each, SHORT) for each in directions[:2]]) == 0
    predicted = torch.stack([(gradient * each).flatten(1).sum(dim=1) for each in directions])
    share = (predicted.double().square().mean() / changed).sqrt().item()
    kind: Kind = "exact"
    if usefulness < USEFULNESS:
        kind = "masked"
    elif not exact:
        approximate = flat.double().mean() >= 0.5 or share >= PREDICTED
        kind = "straight-through" if approximate else "masked"
    return Probe(kind, missed, usefulness, silent)


def _gradients(
    forward: Callable[[Tensor], Tensor], images: Tensor
) -> Probe | tuple[Tensor, Tensor, float]:
    """The two highest classes, the margin's gradient and `Probe.silent`, or why there is none."""
    probed = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = forward(probed)
        classes = logits.detach().topk(2, dim=1).indices
        top_two = logits.gather(1, classes)
        if not logits.requires_grad:
            return Probe("disconnected")
        losses = (top_two[:, 0] - top_two[:, 1], F.cross_entropy(logits, classes[:, 0]))
        gradients = [
            torch.autograd.grad(loss.sum(), probed, retain_graph=True, allow_unused=True)[0]
            for loss in losses
        ]
    margin, entropy = gradients
    if margin is None:
        return Probe("disconnected")
    if not margin.isfinite().all():
        return Probe("not finite")
    lengths = margin.double().flatten(1).norm(dim=1)
    if (lengths < VANISHED).double().mean() > 0.5:
        return Probe("vanishing")
    silent = (entropy.double().flatten(1).norm(dim=1) < 1e-12 * lengths).double().mean().item()
    return classes, margin, silent


def _missed(
    forward: Callable[[Tensor], Tensor],
    slopes: Callable[[Tensor, Tensor, float], Tensor],
    images: Tensor,
    classes: Tensor,
    directions: list[Tensor],
    generator: torch.Generator,
) -> tuple[float, bool]:
    """`Probe.missed` beside 8-bit images, and whether the gradient is exact there."""
    drawn = torch.rand(images.shape, generator=generator, device=generator.device)
    beside = images + (2 * drawn.to(images) - 1) * (DITHER / 255)
    probed = beside.clamp(0, 1).requires_grad_()
    with torch.enable_grad():
        top_two = forward(probed).gather(1, classes)
        (gradient,) = torch.autograd.grad((top_two[:, 0] - top_two[:, 1]).sum(), probed)
    start = probed.detach()
    measured = torch.stack([slopes(start, each, SHORT) for each in directions])
    predicted = torch.stack([(gradient * each).flatten(1).sum(dim=1) for each in directions])
    whole = measured.square().sum()
    if whole == 0:
        return float("inf"), False
    missed = ((measured - predicted).square().sum() / whole).sqrt().item()
    return missed, missed <= MISSED


def _signs(images: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randint(2, images.shape, generator=generator, device=generator.device)
    return drawn.to(images) * 2 - 1
