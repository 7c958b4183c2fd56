"""Rounds real-valued attacked images to 8 bits, so that they still fool if that is possible."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from advrob.attacks.bounds import Ball
from advrob.attacks.losses import gradient_of, margin

# Steps of half a radius: measured on SqueezeNet in l_2, more than ten or others find no more.
STEP, STEPS = 0.5, 10


def onto_lattice(
    network: nn.Module, ball: Ball, attacked: Tensor, labels: Tensor, *, surplus: float = 0.0
) -> Tensor:
    """Round attacked images to 256 levels; search where that lets an image recover.

    Rounding to the nearest level can undo an attack: an l_2 move of 15/255 spread over all pixels
    of a photograph is nowhere half a level. Images that fooled the network before and no longer do
    are moved by whole levels along the direction of their change (`Ball.filled`), and that
    direction is turned towards the gradient of the `margin` until the network is fooled again.

    Args:
        network: images in [0, 1] to logits.
        ball: the originals, in multiples of 1/255, and how far they may be moved.
        attacked: real-valued images ``(N, 3, H, W)`` inside the ball.
        labels: true classes, int64 ``(N,)``.
        surplus: see `advrob.attacks.Attack.__call__`.

    Returns:
        Images ``(N, 3, H, W)`` in [0, 1], in multiples of 1/255, inside the ball: where none
        fooled the network, the one with the highest margin.
    """
    ball = replace(ball, levels=256)
    rounded = ball.stored(attacked)
    with torch.no_grad():
        margins = margin(network(rounded), labels)
        lost = (margins <= surplus) & (margin(network(attacked), labels) > surplus)
    rows = lost.nonzero()[:, 0]
    moved = attacked[rows]
    for _ in range(STEPS):
        if len(rows) == 0:
            break
        inside = ball[rows]
        seen = inside.filled(moved)
        _, gradient, margins_now = gradient_of(network, seen, labels[rows], margin)
        better = margins_now > margins[rows]
        rounded[rows[better]] = seen[better]
        margins[rows] = torch.maximum(margins[rows], margins_now)
        unfooled = margins_now <= surplus
        stepped = moved + STEP * ball.radius * inside.steepest(gradient)
        rows, moved = rows[unfooled], inside.project(stepped)[unfooled]
    return rounded
