"""Adversarial training: the network learns from images that are perturbed against it as it is."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advrob.attacks.pgd import PGD
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


class Universal(Climbing):
    """One perturbation for all images.

    Shafahi, Najibi, Xu, Dickerson, Davis and Goldstein, "Universal adversarial training" (2020),
    Algorithm 2. It costs what training on original images costs.

    Args:
        pupil: who is taught.
        radius: bound of every pixel's change, in units of 1/255.
        step: how far a pixel moves after each batch, in units of 1/255.
    """

    def __init__(self, pupil: Pupil, *, radius: float = 10.0, step: float = 1.0) -> None:
        super().__init__(1, pupil, radius=radius, step=step)


class Free(Climbing):
    """Each batch several times in a row, each image with a perturbation of its own.

    Shafahi, Najibi, Ghiasi, Xu, Dickerson, Studer, Davis, Taylor and Goldstein, "Adversarial
    training for free!" (2019), Algorithm 1: steps are as long as the radius, and a batch begins
    with the perturbations that the last one ended with.

    Args:
        pupil: who is taught.
        radius: bound of every pixel's change, in units of 1/255.
        replays: times that a batch is shown.
    """

    def __init__(self, pupil: Pupil, *, radius: float = 4.0, replays: int = 4) -> None:
        super().__init__(pupil.batch_size, pupil, radius=radius, step=radius)
        self.replays = replays

    def size(self) -> float:
        """See `GROWN`."""
        return grown(self.progress)


class Pgd(Lesson):
    """Images that projected gradient descent makes against the network as it is.

    Madry, Makelov, Schmidt, Tsipras and Vladu, "Towards Deep Learning Models Resistant to
    Adversarial Attacks" (2018), equation 2.1. One iteration from a random start is the fast variant
    of Wong, Rice and Kolter, "Fast is better than free" (2020), Algorithm 3, and costs twice what
    training on original images costs; ``n`` iterations cost ``n + 1`` times as much.

    Args:
        pupil: who is taught.
        radius: bound of every pixel's change, in units of 1/255.
        iterations: of the attack.
        step: of the attack, in units of 1/255; by default 2.5 radii over all iterations and one
            more, which for a single one are the fast variant's 1.25 radii.
    """

    measures = MEASURES

    def __init__(
        self, pupil: Pupil, *, radius: float = 4.0, iterations: int = 1, step: float | None = None
    ) -> None:
        super().__init__()
        self.generator = pupil.generator
        self.radius, self.iterations = radius, iterations
        self.step = 2.5 * radius / (iterations + 1) if step is None else step

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, list[float]]:
        """See `Lesson.loss`."""
        size = grown(self.progress)
        attack = PGD(
            norm="linf",
            radius=self.radius * size,
            step=self.step * size,
            iterations=self.iterations,
        )
        # Images that are fooled are attacked on.
        attacked = attack(network, images, labels, generator=self.generator, surplus=math.inf)
        logits = network(attacked)
        return F.cross_entropy(logits, labels), [right(logits, labels)]
