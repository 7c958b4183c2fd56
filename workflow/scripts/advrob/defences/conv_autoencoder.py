"""A convolutional autoencoder: a narrow code through which an image must pass."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import h5py
import torch
from torch import Tensor, nn
from torch.nn import functional

from advrob.defences import Defence
from advrob.errors import UserError
from advrob.files.rows import Images
from advrob.files.store import Array
from advrob.job import compute
from advrob.learning import fitting
from advrob.learning.networks import NetworkLearner
from advrob.learning.weights import load_weights

# Slope of the activations below 0.
SLOPE = 0.1
# Longer gradients, in l_2, are shortened to this; usual ones are a fifth of it. Without a bound the
# first ones do lasting harm, and a single batch can undo epochs.
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
        channels: channels after each stage of the encoder; the last number is that of the code.
        epochs: passes over the images.
        batch_size: images per step.
        crop: side of the square that is cut out of each image at random, in pixels; smaller images
            are used whole. The filters learn local structure, so many small squares teach more than
            a few whole images.
        learning_rate: initial learning rate of Adam; it falls linearly to 0.
        noise: standard deviation, in units of 1/255, of normal noise that is added to the input but
            not to the target (a denoising autoencoder, Vincent et al. 2008).
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
        noise: Annotated[float, {"minimum": 0, "maximum": 255, "levels": True}] = 0.0,
    ) -> None:
        super().__init__()
        self.training_plan = fitting.Training(
            "conv_autoencoder", epochs, batch_size, learning_rate, noise, crop
        )
        if not channels:
            raise UserError(
                "conv_autoencoder: channels is empty, expected the number of channels of each "
                "stage. List at least one."
            )
        for count in channels:
            fitting.check_positive("conv_autoencoder", "channels", count)
        widths = [3, *channels]
        self.stride = 2 ** len(channels)
        self.encoder, self.decoder = nn.Sequential(), nn.Sequential()
        for in_channels, out_channels in zip(widths, channels, strict=False):
            self.encoder.append(nn.Conv2d(in_channels, out_channels, 6, stride=2, padding=2))
            self.encoder.append(nn.LeakyReLU(SLOPE))
        del self.encoder[-1]  # the code keeps all of its numbers
        for in_channels, out_channels in zip(widths[:0:-1], widths[-2::-1], strict=True):
            self.decoder.append(
                nn.ConvTranspose2d(in_channels, out_channels, 6, stride=2, padding=2)
            )
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
        training, held_out = fitting.split(images, generator, "conv_autoencoder")
        for module in (*self.encoder, *self.decoder):
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, SLOPE, generator=generator)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        self.to(device)
        return Learner(self, self.training_plan).fit(
            training, held_out, device=device, generator=generator, checkpoint=checkpoint
        )

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


class Learner(NetworkLearner):
    """The network and its optimiser while it learns."""

    longest = LONGEST

    def step(self, clean: Tensor, noisy: Tensor, rate: float) -> float:
        """Learn from one batch of images in [0, 1]; see `fitting.Learner`."""
        with compute.autocast(clean.device):
            rebuilt = self.network(noisy)
        error = functional.mse_loss(rebuilt, clean)
        self.descend(error, rate)
        return error.item() * clean.numel()
