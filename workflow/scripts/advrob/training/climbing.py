"""Perturbations that are learned along with the network, by the gradients of its training."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advrob.attacks.bounds import within
from advrob.training import Lesson, Pupil, batch_accuracy

# The share of the training after which a perturbation has grown from nothing to its radius
# (curriculum adversarial training, Cai, Du, Liu and Song 2018): attacked within all of it from the
# first step, a small pretrained network soon finds all classes equally likely and stays there.
FULL_RADIUS_AT = 0.5
MEASURES = ("accuracy while learning, attacked",)


def share_of_radius(progress: float) -> float:
    """The share of its radius that a perturbation may have by now; see `FULL_RADIUS_AT`."""
    return min(1.0, progress / FULL_RADIUS_AT)


class Climbing(Lesson):
    """Perturbations that climb while the network descends, both by the same backward pass.

    Args:
        count: perturbations: one for all images, or one for each position in a batch.
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
        return F.cross_entropy(logits, labels), [batch_accuracy(logits, labels)]

    def size(self) -> float:
        """The share of the radius that perturbations may have by now."""
        return 1.0

    @torch.no_grad()
    def update(self) -> None:
        """Move up the gradient that the network's own backward pass has left."""
        gradient, size = self.perturbation.grad, self.size()
        assert gradient is not None
        radius, step = self.radius * size, self.step * size
        moved = self.perturbation.add(gradient.sign(), alpha=step)
        self.perturbation.copy_(within(moved, "linf", radius))
