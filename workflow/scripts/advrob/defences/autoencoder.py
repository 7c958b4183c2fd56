"""An autoencoder with one hidden layer and tied weights, trained from the principal components."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from advrob import compute, fitting, job, linalg
from advrob.defences import Defence, Images
from advrob.errors import UserError
from advrob.store import Array

# Share of the past in the running means of the gradients and of their squared lengths.
MOMENTUM = 0.9
# Rows of weights that are updated together: enough for full speed, few enough for little memory.
ROWS = 256


class Autoencoder(Defence):
    """Encode with W, decode with its transpose (Rumelhart et al. 1986; Liang et al. 2017, sec. 2).

    ``x' = c + W^T W (x - c)``. The hidden units are linear. On the training images themselves
    nothing linear beats the principal components (Baldi and Hornik 1989), so training starts there;
    what it adds is that it learns from endlessly varied images, mirrored, shifted and noisy, so
    that images which it has not seen are rebuilt better. Like the projection of `PCA` the result
    is not clipped to [0, 1].

    Args:
        hidden: number of hidden units; the paper's 5,964.
        epochs: passes over the images.
        batch_size: images to a step.
        learning_rate: the first step's length in every row of W, as a share of the row's own
            initial length; it falls to 0 linearly.
        noise: standard deviation, in units of 1/255, of the normal noise in what is encoded but not
            in what is to be decoded (a denoising autoencoder, Vincent et al. 2008).
    """

    centre: Tensor

    def __init__(
        self,
        *,
        hidden: int = 5964,
        epochs: int = 4,
        batch_size: int = 128,
        learning_rate: float = 0.03,
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        fitting.check(
            "autoencoder",
            {"hidden": hidden, "batch_size": batch_size, "learning_rate": learning_rate},
            {"epochs": epochs, "noise": noise},
        )
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.noise = noise

    def fit(
        self, images: Images, *, device: torch.device, generator: torch.Generator, checkpoint: Path
    ) -> Mapping[str, Array]:
        """Train from the principal components on varied images.

        Every row of W takes steps of equal length: the principal components' variances differ by
        a factor of 10^5, so one rate for all would leave most rows where they are. The multiplied
        matrices are bfloat16 where the hardware has it; the weights that are updated are float32.

        Returns:
            ``weight`` (hidden, d) float32 in stored order (H, W, 3); ``bias_visible`` (d,), the c
            above; ``bias_hidden`` (hidden,), -W c; ``training_curve`` (epochs, 2), mean squared
            errors per pixel and channel on varied training images and on held-out images, pixels
            in [0, 1];
            ``reconstruction_error``, on held-out images in the end, and
            ``reconstruction_error_pca``, on the same images with as many principal components.

        Raises:
            UserError: more hidden units than numbers in an image, or too few images.
        """
        d = int(np.prod(images.shape[1:]))
        if self.hidden > d:
            raise UserError(
                f"autoencoder: hidden is {self.hidden}, but an image has only {d} numbers, so "
                f"nothing would be compressed. Set hidden below {d}."
            )
        seen, held_out = fitting.split(images, generator, "autoencoder")
        centre = linalg.mean(seen, device)
        training = fitting.resumed(checkpoint, generator, device)
        if training is None:
            weight, rank = self._principal_weights(seen, centre, generator)
            training = {
                "weight": weight,
                "momentum": torch.zeros_like(weight, dtype=_precision(device)),
                "squares": torch.zeros(self.hidden, device=device),
                "error_pca": _error(weight[:rank], held_out, centre),
                "curve": [],
            }
        weight = training["weight"]
        low = weight.to(_precision(device))
        for epoch in fitting.epochs(training, self.epochs, generator, checkpoint):
            order = fitting.batches(len(seen), self.batch_size, generator)
            squares = 0.0
            for step, chosen in enumerate(job.progress(order, f"epoch {epoch + 1}", len(order))):
                batch = torch.from_numpy(seen[chosen.numpy()]).to(device)
                clean = fitting.vary(batch, generator).flatten(1).float().div_(255) - centre
                step += epoch * len(order)
                rate = self.learning_rate * (1 - step / (self.epochs * len(order)))
                squares += self._step(clean, training, low, rate, step, generator)
            training["curve"].append([squares / order.numel() / d, _error(low, held_out, centre)])
            print(
                "epoch {}: error {:.6f}, held out {:.6f}".format(epoch + 1, *training["curve"][-1])
            )
        error = training["curve"][-1][1] if training["curve"] else training["error_pca"]
        return {
            "weight": weight.cpu().numpy(),
            "bias_visible": centre.cpu().numpy(),
            "bias_hidden": (-weight @ centre).cpu().numpy(),
            "training_curve": np.array(training["curve"]).reshape(-1, 2),
            "reconstruction_error": np.float64(error),
            "reconstruction_error_pca": np.float64(training["error_pca"]),
        }

    def _principal_weights(
        self, images: np.ndarray, centre: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, int]:
        """The images' principal components, and their number if less than there are hidden units.

        The remaining rows are random directions orthogonal to the components.
        """
        principal = linalg.principal(images, centre.device, "autoencoder")
        rank = min(self.hidden, principal.rank)
        weight = torch.empty(self.hidden, len(centre), device=centre.device)
        row = 0
        for block in principal.components(rank, images, centre):
            weight[row : row + len(block)] = block
            row += len(block)
        for block in weight[rank:].split(ROWS):
            directions = torch.randn(block.shape, generator=generator).to(block.device)
            directions -= directions @ weight[:rank].T @ weight[:rank]
            block.copy_(torch.nn.functional.normalize(directions))
        return weight, rank

    def _step(
        self,
        clean: Tensor,
        training: dict[str, Any],
        low: Tensor,
        rate: float,
        step: int,
        generator: torch.Generator,
    ) -> float:
        """Learn from one batch; return the sum of its squared errors before the step.

        With codes ``z = W x`` and residual ``r = W^T z - x``, the gradient of ``|r|^2 / 2`` is
        ``z r^T + (W r) x^T``, the decoder's part and the encoder's. It is made a few rows at a
        time.
        """
        noisy = clean
        if self.noise:
            noise = torch.randn(clean.shape, generator=generator).to(clean.device)
            noisy = clean + noise * (self.noise / 255)
        noisy = noisy.to(low.dtype)
        codes = noisy @ low.T
        residual = (codes @ low).float().sub_(clean)
        error = residual.square().sum().item()
        residual = residual.to(low.dtype)
        left = torch.cat([residual @ low.T, codes]).T
        right = torch.cat([noisy, residual])
        # Both running means start from 0 and are too small by this factor at first.
        started = 1 - MOMENTUM ** (step + 1)
        for start in range(0, self.hidden, ROWS):
            rows = slice(start, start + ROWS)
            momentum, squares = training["momentum"][rows], training["squares"][rows]
            gradient = left[rows] @ right
            length = torch.linalg.vector_norm(gradient, dim=1, dtype=torch.float32)
            squares.lerp_(length.square(), 1 - MOMENTUM)
            momentum.lerp_(gradient, 1 - MOMENTUM)
            scale = rate / (squares * started).sqrt().clamp(min=1e-30)
            training["weight"][rows] -= momentum * scale[:, None]
            low[rows] = training["weight"][rows]
        return error

    def load(self, state: h5py.Group) -> None:
        """Take ``weight`` and ``bias_visible``; the hidden bias follows from them."""
        self.register_buffer("centre", linalg.read_matrix(state["bias_visible"]))
        self.weight = linalg.Matrix(linalg.read_matrix(state["weight"]))

    def forward(self, images: Tensor) -> Tensor:
        """Encode and decode images ``(N, 3, H, W)``; the result may leave [0, 1]."""
        return linalg.project(images, self.centre, self.weight(), "autoencoder")


def _precision(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if compute.bfloat16(device) else torch.float32


def _error(weight: Tensor, images: np.ndarray, centre: Tensor) -> float:
    """The mean squared error per pixel and channel of images encoded and decoded."""
    low = weight.to(_precision(weight.device))
    total = 0.0
    for _, batch in linalg.batches(images, weight.device):
        rows = batch.sub_(centre)
        total += ((rows.to(low.dtype) @ low.T) @ low).float().sub_(rows).square().sum().item()
    return total / images.size
