"""Preventive models: networks trained to be robust, by lessons that differ in the images they show.

A lesson is one file of this folder and one entry in the configuration; see `advrob.plan.kinds`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advrob.models import Model


@dataclass(frozen=True)
class Pupil:
    """Who is taught, and where.

    Attributes:
        model: the network that learns.
        size: side of its images in pixels.
        batch_size: images in a batch.
        generator: the source of a lesson's random numbers.
        device: where the model is.
    """

    model: Model
    size: int
    batch_size: int
    generator: torch.Generator
    device: torch.device


class Lesson(nn.Module):
    """What a network is shown of a batch of images, and the loss that it minimises.

    What a lesson itself learns, perturbations or further networks, are its parameters, buffers and
    extra state, so that interrupted training resumes with them.

    Attributes:
        replays: how many times each batch is shown; there are as many fewer epochs.
        measures: names of what `loss` measures beside the loss.
        progress: the share of the training that is done; the trainer updates it.
        passes: forward and backward passes per image, for the time that a job asks for.
        held: for the memory that it asks for, how many images are in the network per image shown.
        effort: the keys whose product is further passes per image.
    """

    replays: int = 1
    measures: Sequence[str] = ()
    progress: float = 1.0
    passes: float = 1
    held: float = 1
    effort: str | Sequence[str] = ()

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, list[float]]:
        """Show a batch.

        Args:
            network: images to float32 logits, in bfloat16 inside where the hardware has it.
            images: ``(N, 3, H, W)`` in [0, 1].
            labels: int64 ``(N,)``.

        Returns:
            The loss, and the numbers that `measures` names.
        """
        raise NotImplementedError

    def update(self) -> None:
        """Learn from the gradients of the loss, after the network's own step."""

    def extra_parameters(self) -> list[nn.Parameter]:
        """Parameters that are trained together with the network's, such as auxiliary heads'."""
        return []


def batch_accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of a batch that is classified correctly."""
    return float((logits.detach().argmax(dim=1) == labels).float().mean())
