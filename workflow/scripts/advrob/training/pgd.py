"""Adversarial training by projected gradient descent."""

import math
from typing import Annotated

from torch import Tensor, nn
from torch.nn import functional as F

from advrob.attacks.pgd import PGD
from advrob.training import Lesson, Pupil, batch_accuracy
from advrob.training.climbing import MEASURES, share_of_radius


class Pgd(Lesson):
    """Train on images that projected gradient descent makes against the current network.

    Madry, Makelov, Schmidt, Tsipras and Vladu, "Towards Deep Learning Models Resistant to
    Adversarial Attacks" (2018), equation 2.1. One iteration from a random start is the fast variant
    of Wong, Rice and Kolter, "Fast is better than free" (2020), Algorithm 3, and costs twice what
    training on original images costs; ``n`` iterations cost ``n + 1`` times as much.

    Args:
        pupil: who is taught.
        radius: bound on each pixel's change, in units of 1/255.
        iterations: steps of the attack.
        step: length of a step, in units of 1/255. Default is 2.5 * radius / (iterations + 1); for
            one iteration that is the fast variant's 1.25 radii.
    """

    measures = MEASURES
    effort = "iterations"

    def __init__(
        self,
        pupil: Pupil,
        *,
        radius: Annotated[float, {"exclusiveMinimum": 0, "levels": True}] = 4.0,
        iterations: Annotated[int, {"minimum": 1}] = 1,
        step: Annotated[float | None, {"exclusiveMinimum": 0, "levels": True}] = None,
    ) -> None:
        super().__init__()
        self.generator = pupil.generator
        self.radius, self.iterations = radius, iterations
        self.step = 2.5 * radius / (iterations + 1) if step is None else step

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, list[float]]:
        """See `Lesson.loss`."""
        share = share_of_radius(self.progress)
        attack = PGD(
            norm="linf",
            radius=self.radius * share,
            step=self.step * share,
            iterations=self.iterations,
        )
        # Images that already fool the network are attacked further.
        attacked = attack(network, images, labels, generator=self.generator, surplus=math.inf)
        logits = network(attacked)
        return F.cross_entropy(logits, labels), [batch_accuracy(logits, labels)]
