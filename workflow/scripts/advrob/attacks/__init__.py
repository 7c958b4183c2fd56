"""Attacks: one file per kind, named after it, with one subclass of `Attack`.

To add one, write ``attacks/<kind>.py`` with such a class and name it in the configuration. Its
keyword-only ``__init__`` parameters are its configuration keys.

A network maps float images ``(N, 3, H, W)``, RGB in [0, 1], to float32 logits ``(N, classes)``.
Its normalisation, its defence and its number format are inside it. It arrives in evaluation mode
and is left unchanged: no gradient is accumulated in its parameters.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from advrob.attacks.losses import margin
from advrob.errors import UserError
from advrob.plug_ins import make


@dataclass(frozen=True)
class Task:
    """What an attack works on.

    Attributes:
        network: images in [0, 1] to logits.
        images: ``(N, 3, H, W)`` in [0, 1], in multiples of 1/255.
        labels: true classes, int64 ``(N,)``.
        generator: the source of every random number.
        surplus: by how much another class's logit must exceed the label's before an image counts as
            fooled: what another precision or another draw may take back.
    """

    network: nn.Module
    images: Tensor
    labels: Tensor
    generator: torch.Generator
    surplus: float = 0.0

    def __getitem__(self, rows: Tensor) -> "Task":
        """The same for some of the images."""
        return replace(self, images=self.images[rows], labels=self.labels[rows])

    @torch.no_grad()
    def margins(self) -> Tensor:
        """By how much the best wrong class leads at each image, ``(N,)``."""
        return margin(self.network(self.images), self.labels)

    def holding(self) -> Tensor:
        """The indices of the images that do not fool the network, int64."""
        if math.isinf(self.surplus):  # no margin is ever enough
            return torch.arange(len(self.images), device=self.images.device)
        return (self.margins() <= self.surplus).nonzero()[:, 0]

    @torch.no_grad()
    def likely_targets(self, count: int) -> Tensor:
        """The most likely wrong classes of the images, most likely first.

        Args:
            count: how many classes; all wrong ones if there are fewer.

        Returns:
            int64 ``(count, N)``.
        """
        others = self.network(self.images).scatter(1, self.labels[:, None], -torch.inf)
        return others.topk(min(count, others.shape[1] - 1), dim=1).indices.T


class Attack:
    """Moves images inside a ball around them until a network gets them wrong.

    An attack is untargeted: any wrong class will do. Its hyperparameters are those of its
    constructor; an object keeps no state between calls.
    """

    # Whether it uses the network's gradients, or nothing but its outputs.
    needs_gradient: bool = True
    # The norms that it can bound; with more than one, ``norm`` is a hyperparameter.
    norms: Sequence[str] = ("linf", "l2")
    # The hyperparameter that counts passes of the network per image, or those whose product does.
    effort: str | Sequence[str] = "iterations"

    def __call__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        generator: torch.Generator,
        surplus: float = 0.0,
    ) -> Tensor:
        """Attack a batch of images: `perturb` them. The arguments are those of a `Task`.

        The attack is given copies: other people's attacks may write into what they are given.

        Raises:
            UserError: it does not return images.
        """
        task = Task(network, images.clone(), labels.clone(), generator, surplus)
        adversarial = self.perturb(task)
        returned = _problem(adversarial, images)
        if returned:
            raise UserError(
                f"attack {type(self).__name__}: returns {returned} for images of shape "
                f"{tuple(images.shape)}. Expected images of the same shape and type, in [0, 1]. "
                "Correct its perturb."
            )
        return adversarial

    def perturb(self, task: Task) -> Tensor:
        """Attack the images of a task.

        Returns:
            Images ``(N, 3, H, W)`` in [0, 1], inside the ball; in multiples of 1/255 unless the
            attack has a hyperparameter ``levels`` that is None. An image that counts as fooled from
            the start is returned as it is.
        """
        raise NotImplementedError


def _problem(adversarial: Any, images: Tensor) -> str | None:
    """What an attack returned instead of images."""
    if not isinstance(adversarial, Tensor):
        return f"an object of type {type(adversarial).__name__}"
    if adversarial.shape != images.shape:
        return f"a tensor of shape {tuple(adversarial.shape)}"
    if adversarial.dtype != images.dtype:
        return f"numbers of type {str(adversarial.dtype).removeprefix('torch.')}"
    return None if adversarial.isfinite().all() else "NaN or infinity"


@torch.no_grad()
def in_turn(task: Task, runs: Iterable[Callable[[Tensor], Tensor]]) -> Tensor:
    """Run several attacks in turn, each on the images that the earlier ones did not fool.

    Args:
        task: what they work on.
        runs: each takes the indices of images, int64 ``(n,)``, and returns these images attacked.

    Returns:
        For each image the result with the highest `margin`, or the image itself.
    """
    adversarial, margins = task.images.clone(), task.margins()
    for run in runs:
        rows = (margins <= task.surplus).nonzero()[:, 0]
        if len(rows) == 0:
            break
        tried = run(rows)
        margins_now = replace(task[rows], images=tried).margins()
        better = margins_now > margins[rows]
        adversarial[rows[better]] = tried[better]
        margins[rows[better]] = margins_now[better]
    return adversarial


def build(kind: str, parameters: Mapping[str, Any]) -> Attack:
    """Build an attack of the given kind with the given hyperparameters."""
    attack: Attack = make("attack", kind, parameters)
    return attack
