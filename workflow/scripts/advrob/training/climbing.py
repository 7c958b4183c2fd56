"""Perturbations that learn along with the network, by the gradients of its own training."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advrob.training import Lesson, Pupil, right

# By which share of the training an image's perturbation has grown from nothing to its radius
# (curriculum adversarial training, Cai, Du, Liu and Song 2018): given all of it from the first
# step, a small pretrained network falls to calling all classes equally likely and stays there.
GROWN = 0.5
MEASURES = ("accuracy while learning, attacked",)


def grown(progress: float) -> float:
    """The share of its radius that a perturbation has at a point of the training; see `GROWN`."""
    return min(1.0, progress / GROWN)


class Climbing(Lesson):
    """Perturbations that climb while the network descends, by the gradients of one pass back.

    Args:
        count: perturbations: one for all images, or one for each place in a batch.
        pupil: who is taught.
        radius: bound of every pixel's change, in units of 1/255.
        step: how far a pixel moves after each pass, in units of 1/255.
    """

    abstract = True
    measures = MEASURES

    def __init__(self, count: int, pupil: Pupil, *, radius: float, step: float) -> None:
        super().__init__()
        self.radius, self.step = radius, step
        shape = (count, 3, pupil.size, pupil.size)
        self.perturbation = nn.Parameter(torch.zeros(shape, device=pupil.device))

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, list[float]]:
        """See `Lesson.loss`."""
        self.perturbation.grad = None
        logits = network((images + self.perturbation / 255).clamp(0, 1))
        return F.cross_entropy(logits, labels), [right(logits, labels)]

    def size(self) -> float:
        """The share of the radius that perturbations may have by now."""
        return 1.0

    @torch.no_grad()
    def update(self) -> None:
        """Move up the gradient that is left of the network's own step."""
        gradient, size = self.perturbation.grad, self.size()
        assert gradient is not None
        radius, step = self.radius * size, self.step * size
        self.perturbation.add_(gradient.sign(), alpha=step).clamp_(-radius, radius)
