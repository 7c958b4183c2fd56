"""An autoencoder with one hidden layer and tied weights, trained from the principal components."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from advrob.defences import Defence
from advrob.errors import UserError
from advrob.files.rows import Images
from advrob.files.store import Array
from advrob.job import compute
from advrob.learning import fitting
from advrob.linear import linalg
from advrob.linear.principal import principal
from advrob.plan.components import principal_memory

# Share of the past in the running means of the gradients and of their squared lengths.
MOMENTUM = 0.9
# Rows of weights that are updated together: few enough to stay in a processor's cache.
ROWS = 32
# Rows of random weights that are made orthogonal to the others together.
RANDOM_ROWS = 256
# Gradients shorter than this count as this long.
TINY = 1e-30


class Autoencoder(Defence):
    """Encode with W, decode with its transpose (Rumelhart et al. 1986; Liang et al. 2017, sec. 2).

    ``x' = c + W^T W (x - c)``. The hidden units are linear. On the training images themselves
    nothing linear beats the principal components (Baldi and Hornik 1989), so training starts there;
    what it adds is that it learns from endlessly varied images, mirrored, shifted and noisy, so
    that images which it has not seen are rebuilt better. Like the projection of `PCA` the result
    is not clipped to [0, 1].

    Args:
        hidden: number of hidden units; 5,964 in the paper.
        epochs: passes over the images.
        batch_size: images per step.
        learning_rate: length of the first step in each row of W, as a share of the row's initial
            length; it falls linearly to 0.
        noise: standard deviation, in units of 1/255, of normal noise that is added to the input but
            not to the target (a denoising autoencoder, Vincent et al. 2008).
    """

    fits_mixed = True
    principal = "hidden"

    centre: Tensor

    def __init__(
        self,
        *,
        hidden: Annotated[int, {"minimum": 1, "at_most": "numbers"}] = 5964,
        epochs: Annotated[int, {"minimum": 1}] = 4,
        batch_size: Annotated[int, {"minimum": 1}] = 128,
        learning_rate: Annotated[float, {"exclusiveMinimum": 0}] = 0.03,
        noise: Annotated[float, {"minimum": 0, "maximum": 255, "levels": True}] = 0.0,
    ) -> None:
        super().__init__()
        self.training_plan = fitting.Training(
            "autoencoder", epochs, batch_size, learning_rate, noise
        )
        fitting.check_positive("autoencoder", "hidden", hidden)
        self.hidden = hidden

    def fit(
        self, images: Images, *, device: torch.device, generator: torch.Generator, checkpoint: Path
    ) -> Mapping[str, Array]:
        """Train from the principal components on varied images.

        Returns:
            ``weight`` (hidden, d) float32 in stored order (H, W, 3); ``bias_visible`` (d,), c;
            ``bias_hidden`` (hidden,), -W c; ``training_curve`` (epochs, 2), mean squared errors
            per pixel and channel on varied training images and on held-out images, pixels in
            [0, 1]; ``reconstruction_error``, on held-out images in the end, and
            ``reconstruction_error_pca``, on the same images with as many principal components of
            the same training images, or all of them if there are fewer.

        Raises:
            UserError: more hidden units than numbers in an image, or too few images.
        """
        d = int(np.prod(images.shape[1:]))
        if self.hidden > d:
            raise UserError(
                f"autoencoder: hidden is {self.hidden}, but an image has {d} numbers, so nothing "
                f"would be compressed. Set hidden below {d}."
            )
        training, held_out = fitting.split(images, generator, "autoencoder")
        centre = linalg.mean(training, device)
        saved = fitting.resume(checkpoint, generator, device)
        if saved:
            learner = TiedWeights(centre, **saved["learner"])
        else:
            weight, rank = principal_weights(self.hidden, training, centre, generator)
            error_pca = mean_squared_error(weight[:rank], held_out, centre)
            learner = TiedWeights(centre, weight, error_pca)
        curve = self.training_plan.run(
            learner,
            training,
            held_out,
            saved,
            device=device,
            generator=generator,
            checkpoint=checkpoint,
        )
        return {
            "weight": learner.weight.cpu().numpy(),
            "bias_visible": centre.cpu().numpy(),
            "bias_hidden": (-learner.weight @ centre).cpu().numpy(),
            "training_curve": curve,
            "reconstruction_error": curve[-1, 1],
            "reconstruction_error_pca": np.float64(learner.error_pca),
        }

    def memory(self, shape: tuple[int, ...]) -> int:
        """That of the eigenproblem or, if it is more, of the weights and their momentum."""
        d = int(np.prod(shape[1:]))
        training = shape[0] - round(shape[0] * fitting.HELD_OUT)
        return max(principal_memory(training, d, self.hidden), 8 * self.hidden * d)

    def load(self, state: h5py.Group) -> None:
        """Take ``weight`` and ``bias_visible``; the hidden bias follows from them."""
        self.register_buffer("centre", linalg.read_matrix(state["bias_visible"]))
        self.weight = linalg.Matrix(linalg.read_matrix(state["weight"]))

    def forward(self, images: Tensor) -> Tensor:
        """Encode and decode images ``(N, 3, H, W)``; the result may leave [0, 1]."""
        return linalg.project(images, self.centre, self.weight(), "autoencoder")


class TiedWeights:
    """The autoencoder's weights while they learn.

    Principal components differ in variance by a factor of 10^5, so no one rate suits them all:
    every row of the weights takes steps of the same length instead, along the running mean of its
    gradients. Products are in bfloat16 where the hardware has it, updates in float32.

    Args:
        centre: c, ``(d,)``.
        weight: W, ``(hidden, d)`` float32, changed in place.
        error_pca: held-out error of the principal components, to report in the end.
        momentum: running means of the gradients.
        squares: running means of the gradients' squared lengths, ``(hidden,)``.
        steps: number of steps so far.
    """

    def __init__(
        self,
        centre: Tensor,
        weight: Tensor,
        error_pca: float,
        momentum: Tensor | None = None,
        squares: Tensor | None = None,
        steps: int = 0,
    ) -> None:
        self.centre, self.weight, self.error_pca, self.steps = centre, weight, error_pca, steps
        self.low = low_precision(weight)
        self.momentum = torch.zeros_like(self.low) if momentum is None else momentum
        self.squares = weight.new_zeros(len(weight)) if squares is None else squares

    def step(self, clean: Tensor, noisy: Tensor, rate: float) -> float:
        """Learn from one batch; see `fitting.Learner`.

        With codes ``z = W x`` and residual ``r = W^T z - x``, the gradient of ``|r|^2 / 2`` is
        ``z r^T + (W r) x^T``, the decoder's part and the encoder's. It is never held as a whole:
        its product goes straight into the running mean, and the lengths of its rows follow from
        the inner products of the right factor's rows.
        """
        target = clean.permute(0, 2, 3, 1).flatten(1) - self.centre
        inputs = low_precision(noisy.permute(0, 2, 3, 1).flatten(1) - self.centre)
        codes = inputs @ self.low.T
        residual = (codes @ self.low).float().sub_(target)
        squared_error = residual.square().sum().item()
        residual = low_precision(residual)
        left_factor = torch.cat([residual @ self.low.T, codes]).T
        right_factor = torch.cat([inputs, residual])
        self.steps += 1
        # Both running means start from 0 and are too small at first, by this factor.
        correction = 1 - MOMENTUM**self.steps
        self.momentum.addmm_(left_factor, right_factor, beta=MOMENTUM, alpha=1 - MOMENTUM)
        wide = right_factor.float()
        products = wide @ wide.T
        lengths_squared = (
            (left_factor.float() @ products).mul_(left_factor).sum(dim=1).clamp_(min=0)
        )
        self.squares.lerp_(lengths_squared, 1 - MOMENTUM)
        scale = rate / (self.squares * correction).sqrt().clamp(min=TINY)
        for start in range(0, len(self.weight), ROWS):
            rows = slice(start, start + ROWS)
            self.weight[rows].addcmul_(self.momentum[rows], scale[rows, None], value=-1)
            self.low[rows] = self.weight[rows]
        return squared_error

    def error(self, images: Images) -> float:
        """The mean squared error per pixel and channel of 8-bit images."""
        return mean_squared_error(self.low, images, self.centre)

    def state(self) -> dict[str, Any]:
        """The arguments, except the centre, that restore this object."""
        return {
            "weight": self.weight,
            "error_pca": self.error_pca,
            "momentum": self.momentum,
            "squares": self.squares,
            "steps": self.steps,
        }


def principal_weights(
    hidden: int, images: Images, centre: Tensor, generator: torch.Generator
) -> tuple[Tensor, int]:
    """Weights to start from: the images' principal components, then random directions.

    Returns:
        Unit rows ``(hidden, d)`` float32, and how many of them are principal components; the random
        ones are orthogonal to these, and nearly to each other.
    """
    result = principal(
        images, centre, components=hidden, generator=generator, defence="autoencoder"
    )
    rank = min(hidden, result.rank)
    weight = torch.empty(hidden, len(centre), device=centre.device)
    row = 0
    for block in result.components(rank):
        weight[row : row + len(block)] = block
        row += len(block)
    for block in weight[rank:].split(RANDOM_ROWS):
        directions = torch.randn(block.shape, generator=generator).to(block.device)
        directions -= directions @ weight[:rank].T @ weight[:rank]
        block.copy_(functional.normalize(directions))
    return weight, rank


def low_precision(values: Tensor) -> Tensor:
    """A copy in bfloat16 where the hardware multiplies it, else the values themselves."""
    return values.bfloat16() if compute.bfloat16(values.device) else values


def mean_squared_error(weight: Tensor, images: Images, centre: Tensor) -> float:
    """Per pixel and channel, pixels in [0, 1], of 8-bit images encoded and decoded."""
    weight = low_precision(weight)
    squares = 0.0
    for _, batch in linalg.batches(images, weight.device):
        rows = batch.sub_(centre)
        rebuilt = (low_precision(rows) @ weight.T) @ weight
        squares += rebuilt.float().sub_(rows).square().sum().item()
    return squares / images.size
