"""A convolutional autoencoder: a narrow code through which an image must pass."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import h5py
import torch
from torch import Tensor, nn
from torch.nn import functional

from advrob.defences import Defence
from advrob.errors import UserError
from advrob.files.store import Array, Images
from advrob.images.pixels import to_tensor
from advrob.job import compute
from advrob.learning import fitting
from advrob.learning.weights import load_weights, weight_arrays

# Slope of the activations below 0.
SLOPE = 0.1
# The longest gradient, in l_2, that is learned from as it is; usual ones are a fifth of it. Without
# a bound the first ones do lasting harm, and a single batch can undo epochs.
LONGEST = 0.1


class ConvolutionalAutoencoder(Defence):
    """Convolutions to a code, transposed convolutions back (after Masci et al. 2011).

    Every stage of the encoder halves height and width by its stride; every stage of the decoder,
    with filters of its own, doubles them. With two stages and 16 channels at the end the code of a
    224 x 224 image is 56 x 56 x 16 numbers, a third of the image's. The code is linear: nothing of
    it is cut off. The result is not clipped to [0, 1].

    Strides take the place of Masci's max. pooling, which forgets where in its window the maximum
    was: in the same time they reach a third of the error.

    Args:
        channels: after each stage of the encoder; the last are the code's.
        epochs: passes over the images.
        batch_size: images to a step.
        crop: side of the square that is cut out of each image at random, in pixels; whole images if
            they are smaller. What the filters learn is local, so many small squares teach more
            than few whole images.
        learning_rate: Adam's at first; it falls to 0 linearly.
        noise: standard deviation, in units of 1/255, of the normal noise in what is encoded but not
            in what is to be decoded (a denoising autoencoder, Vincent et al. 2008).
    """

    fits_mixed = True

    def __init__(
        self,
        *,
        channels: Annotated[Sequence[Annotated[int, {"minimum": 1}]], {"minItems": 1}] = (32, 16),
        epochs: Annotated[int, {"minimum": 1}] = 30,
        batch_size: Annotated[int, {"minimum": 1}] = 32,
        crop: Annotated[int, {"minimum": 1}] = 96,
        learning_rate: Annotated[float, {"exclusiveMinimum": 0}] = 0.005,
        noise: Annotated[float, {"minimum": 0, "levels": True}] = 0.0,
    ) -> None:
        super().__init__()
        self.training_plan = fitting.Training(
            "conv_autoencoder", epochs, batch_size, learning_rate, noise, crop
        )
        if not channels:
            raise UserError(
                "conv_autoencoder: channels is empty, expected the number of channels of each "
                "stage. List one at least."
            )
        for count in channels:
            fitting.check_positive("conv_autoencoder", "channels", count)
        widths = [3, *channels]
        self.stride = 2 ** len(channels)
        self.encoder, self.decoder = nn.Sequential(), nn.Sequential()
        for before, after in zip(widths, channels, strict=False):
            self.encoder.append(nn.Conv2d(before, after, 6, stride=2, padding=2))
            self.encoder.append(nn.LeakyReLU(SLOPE))
        del self.encoder[-1]  # the code keeps all of its numbers
        for before, after in zip(widths[:0:-1], widths[-2::-1], strict=True):
            self.decoder.append(nn.ConvTranspose2d(before, after, 6, stride=2, padding=2))
            self.decoder.append(nn.LeakyReLU(SLOPE))
        del self.decoder[-1]  # pixels are no activations

    def fit(
        self, images: Images, *, device: torch.device, generator: torch.Generator, checkpoint: Path
    ) -> Mapping[str, Array]:
        """Train with Adam on varied images.

        Returns:
            The weights by their names in this module; ``training_curve`` (epochs, 2), mean squared
            errors per pixel and channel on varied training images and on held-out images, pixels
            in [0, 1]; ``reconstruction_error``, on held-out images in the end.

        Raises:
            UserError: there are too few images.
        """
        seen, held_out = fitting.split(images, generator, "conv_autoencoder")
        for module in (*self.encoder, *self.decoder):
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, SLOPE, generator=generator)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        self.to(device)
        learner = Learner(self)
        saved = fitting.resume(checkpoint, generator, device)
        if saved:
            learner.load(saved["learner"])
        curve = self.training_plan.run(
            learner,
            seen,
            held_out,
            saved,
            device=device,
            generator=generator,
            checkpoint=checkpoint,
        )
        return {
            **weight_arrays(self),
            "training_curve": curve,
            "reconstruction_error": curve[-1, 1],
        }

    def load(self, state: h5py.Group) -> None:
        """Take the weights."""
        load_weights(self, state)

    def forward(self, images: Tensor) -> Tensor:
        """Encode and decode images ``(N, 3, H, W)``; the result may leave [0, 1]."""
        height, width = images.shape[2:]
        # Repeat the border up to a whole number of the code's cells, and cut it off again.
        extra = (0, -width % self.stride, 0, -height % self.stride)
        padded = functional.pad(images - 0.5, extra, mode="replicate")
        rebuilt = self.decoder(self.encoder(padded))[:, :, :height, :width]
        return rebuilt.to(images.dtype) + 0.5


class Learner:
    """The network and its optimiser while it learns; see `fitting.Learner`."""

    def __init__(self, network: ConvolutionalAutoencoder) -> None:
        self.network = network.to(memory_format=torch.channels_last)
        self.optimiser = torch.optim.Adam(network.parameters())

    def step(self, clean: Tensor, noisy: Tensor, rate: float) -> float:
        """Learn from one batch of images in [0, 1]; see `fitting.Learner`."""
        self.optimiser.param_groups[0]["lr"] = rate
        with compute.autocast(clean.device):
            rebuilt = self.network(noisy)
        error = functional.mse_loss(rebuilt, clean)
        self.optimiser.zero_grad()
        error.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), LONGEST)
        self.optimiser.step()
        return error.item() * clean.numel()

    @torch.inference_mode()
    def error(self, images: Images) -> float:
        """The mean squared error per pixel and channel of 8-bit images."""
        device = next(self.network.parameters()).device
        size = self.network.training_plan.batch_size
        squares = 0.0
        for start in range(0, len(images), size):
            batch = to_tensor(images[start : start + size], device)
            with compute.autocast(device):
                squares += (self.network(batch) - batch).square().sum().item()
        return squares / images.size

    def state(self) -> dict[str, Any]:
        """The network's weights and the optimiser's running means."""
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `state` gave."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
