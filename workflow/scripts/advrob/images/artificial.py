"""Artificial images that take the place of photographs."""

import numpy as np
import torch
from torch.nn import functional as F

from advrob.job.compute import generator

# Squares along a side, from two to nearly single pixels: photographs have detail of all sizes.
SQUARES = (2, 4, 8, 16, 32, 64, 128)
# Mean and standard deviation of the values of photographs, in units of 1.
MEAN, DEVIATION = 0.45, 0.25


class Jigsaws:
    """Images of randomly coloured squares of all sizes, drawn whenever they are asked for.

    After Zhang, Benz, Karjauv and Kweon, "Data-free universal adversarial perturbation and
    black-box attack" (2021), Section 4: such images excite a network's filters at all frequencies.
    There each image has squares of one size; here squares of all sizes are added, coarse ones with
    more weight, so that each image has the falling spectrum of photographs.

    Args:
        count: how many there are.
        side: of each, in pixels.
        seed: image k is always the same for the same seed.
    """

    def __init__(self, count: int, side: int, seed: int) -> None:
        self.shape = (count, side, side, 3)
        self.seed = seed

    def __len__(self) -> int:
        """How many there are."""
        return self.shape[0]

    def __getitem__(self, selection: slice) -> np.ndarray:
        """Some of them, uint8 ``(N, side, side, 3)``."""
        drawn = [self._draw(number) for number in range(len(self))[selection]]
        return np.stack(drawn) if drawn else np.empty((0, *self.shape[1:]), np.uint8)

    def _draw(self, number: int) -> np.ndarray:
        numbers = generator(self.seed, "jigsaw", number)
        side = self.shape[1]
        mixed = torch.zeros(3, side, side)
        for squares in SQUARES:
            colours = torch.rand(1, 3, squares, squares, generator=numbers) - 0.5
            mixed += F.interpolate(colours, size=(side, side))[0] / squares**0.25
        values = MEAN + DEVIATION * mixed / mixed.std()
        return (255 * values.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
