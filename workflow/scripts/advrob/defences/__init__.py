"""Preprocessing defences: one file a kind, named after it, holding one subclass of `Defence`.

To add one, write ``defences/<kind>.py`` with such a class and name it in the configuration. Its
keyword-only ``__init__`` parameters are its configuration keys.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import torch
from torch import Tensor, nn

from advrob.errors import UserError
from advrob.files.rows import Images
from advrob.files.store import Array
from advrob.plug_ins import make


class Defence(nn.Module):
    """A map from images to images in front of a model, differentiable wherever possible.

    ``forward`` takes and gives float tensors ``(N, 3, H, W)``. A defence that draws random numbers
    draws them afresh in every pass from ``self.generator``.

    A defence that learns overrides `fit` and `load`, and is fitted before it is used. One that also
    learns from a model's predictions has a trait ``classifier``, the key that names the model; its
    `fit` gets the model, which maps images to logits, as ``classifier``.
    """

    # Whether two passes over the same images may differ.
    stochastic: bool = False
    # The parameter that is 0 where a stochastic defence draws nothing; empty if there is none.
    stochastic_if: str = ""
    # Whether `fit` multiplies in bfloat16 where the hardware has it.
    fits_mixed: bool = False
    # What a job that fits it asks for. For its time, the passes of a network, forward and backward,
    # for each image and epoch, and the keys whose product is the epochs; for its memory, what `fit`
    # holds in GB.
    passes: float = 1
    effort: str | Sequence[str] = "epochs"
    gigabytes: float = 4
    # The key that counts principal components of whole images, where `fit` searches for them. With
    # passes they are weights that it then trains, instead of a network's.
    principal: str = ""

    def __init__(self) -> None:
        super().__init__()
        self.generator: torch.Generator | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Defend images ``(N, 3, H, W)`` in [0, 1]; the result has the same shape."""
        raise NotImplementedError

    def fit(
        self, images: Images, *, device: torch.device, generator: torch.Generator, checkpoint: Path
    ) -> Mapping[str, Array]:
        """Learn from images that are in no test set.

        Args:
            images: 8-bit images ``(N, H, W, 3)``, read in slices.
            device: where to compute.
            generator: the source of every random number.
            checkpoint: a file to resume from if it exists, and to keep up to date in long runs.

        Returns:
            The state: named arrays for `load`, a training curve and reconstruction errors.
        """
        raise NotImplementedError

    def memory(self, shape: tuple[int, ...]) -> int:
        """The least memory in bytes that `fit` needs on a CPU, for images ``(N, H, W, 3)``.

        It counts only what does not depend on the batch size: a lower bound, to refuse a job before
        it starts.
        """
        return 0

    def load(self, state: h5py.Group) -> None:
        """Take the arrays that `fit` returned."""
        raise NotImplementedError

    def expect(self, sigma: float) -> None:
        """Adapt to Gaussian noise in all further images, if the defence can.

        Certification calls this; most defences ignore it.

        Args:
            sigma: standard deviation of the noise, in units of 1/255.
        """

    def draw(self, shape: Sequence[int], reference: Tensor) -> Tensor:
        """Fresh uniform numbers in [0, 1), of the type and on the device of ``reference``."""
        # Drawn where the generator lives, so that a CPU generator gives a GPU the same numbers.
        device = reference.device if self.generator is None else self.generator.device
        return torch.rand(shape, generator=self.generator, device=device).to(reference)


def straight_through(value: Tensor, through: Tensor) -> Tensor:
    """``value``, with the gradient of ``through`` (Bengio et al. 2013).

    For steps without a useful gradient, such as rounding: the backward pass treats them as the
    identity.
    """
    return _StraightThrough.apply(value, through)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, through: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0]


def check_ratio(kind: str, ratio: float, example: str) -> None:
    """Refuse a share of the size of images that cannot be one.

    Raises:
        UserError: it is not above 0 and at most 1.
    """
    if not 0 < ratio <= 1:
        raise UserError(
            f"{kind}: ratio is {ratio}; expected a fraction above 0 and up to 1, such as {example}."
        )


def build(
    kind: str,
    parameters: Mapping[str, Any],
    *,
    state: h5py.Group | None = None,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Defence:
    """A defence ready for use: constructed, its fitted state loaded, in evaluation mode."""
    defence: Defence = make("defence", kind, parameters)
    defence.generator = generator
    if state is not None:
        defence.load(state)
    return defence.to(device).eval().requires_grad_(False)
