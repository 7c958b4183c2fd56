"""A convolutional network that learns to remove Gaussian noise."""

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

# Longer gradients, in l_2, are shortened to this: the first ones are ten times as long.
LONGEST = 1.0
# How much a changed prediction counts beside the squared error; see `Learner.step`.
STABILITY = 0.1
# Bits of a seed that a generator gives for another.
SEED = 2**62


class DnCNN(Defence):
    """A denoiser that learns what noise looks like (after DnCNN, Zhang et al. 2017).

    Convolutions of 3 x 3 estimate the noise, which is taken from the image (residual learning). As
    in FFDNet (Zhang, Zuo and Zhang 2018) they work on the image rearranged to half its height and
    width and four times its channels: a quarter of the time. It does not know how strong the noise
    is. The result is not clipped to [0, 1].

    Between the first and the last convolution are residual blocks without normalisation, each of
    which begins by changing nothing (Zhang, Dauphin and Ma 2019, "Fixup initialization"). In the
    few hundred steps that it has here they leave a quarter of the noise, where DnCNN's plain
    convolutions with batch normalisation leave nearly all of it.

    Args:
        sigmas: standard deviations of the Gaussian noise that it learns to remove, in units of
            1/255; each image to learn from gets one of them at random.
        features: channels between the convolutions.
        blocks: residual blocks, of two convolutions each.
        epochs: passes over the images.
        batch_size: images per step.
        crop: side of the square that is cut out of each image at random, in pixels.
        learning_rate: initial learning rate of Adam; it falls linearly to 0.
        stability: the name of a model in the configuration; the denoiser also learns to keep its
            predictions for the clean images under noise (Salman et al. 2020, the stability
            objective), which needs no labels. The model sees squares of the side crop.
    """

    fits_mixed = True
    # The key that names a model to learn from.
    classifier = "stability"

    def __init__(
        self,
        *,
        sigmas: Annotated[
            Sequence[Annotated[float, {"exclusiveMinimum": 0, "maximum": 255, "levels": True}]],
            {"minItems": 1},
        ] = (16.0, 32.0, 64.0),
        features: Annotated[int, {"minimum": 1}] = 32,
        blocks: Annotated[int, {"minimum": 1}] = 3,
        epochs: Annotated[int, {"minimum": 1}] = 5,
        batch_size: Annotated[int, {"minimum": 1}] = 32,
        crop: Annotated[int, {"minimum": 2}] = 48,
        learning_rate: Annotated[float, {"exclusiveMinimum": 0}] = 0.004,
        stability: str | None = None,
    ) -> None:
        super().__init__()
        self.stability = stability
        self.training_plan = fitting.Training(
            "dncnn", epochs, batch_size, learning_rate, noise=0.0, crop=crop
        )
        if not sigmas:
            raise UserError(
                "dncnn: sigmas is empty, expected standard deviations of the noise to remove, in "
                "units of 1/255. List at least one."
            )
        for sigma in sigmas:
            fitting.check_positive("dncnn", "sigmas", sigma)
        fitting.check_positive("dncnn", "features", features)
        fitting.check_positive("dncnn", "blocks", blocks)
        self.sigmas = tuple(sigmas)
        self.first = nn.Conv2d(12, features, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(features) for _ in range(blocks)))
        self.last = nn.Conv2d(features, 12, 3, padding=1)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Remove noise from images ``(N, 3, H, W)``; the result may leave [0, 1]."""
        height, width = images.shape[2:]
        # An odd side is repeated at the border, and cut off again.
        even = functional.pad(images, (0, width % 2, 0, height % 2), mode="replicate")
        x = functional.pixel_unshuffle(even - 0.5, 2).contiguous(memory_format=torch.channels_last)
        noise = self.last(self.blocks(self.first(x)))
        noise = functional.pixel_shuffle(noise, 2)[:, :, :height, :width]
        return images - noise.to(images.dtype)

    def fit(
        self,
        images: Images,
        *,
        device: torch.device,
        generator: torch.Generator,
        checkpoint: Path,
        classifier: nn.Module | None = None,
    ) -> Mapping[str, Array]:
        """Train with Adam on varied, noisy images.

        Args:
            images: 8-bit images ``(N, H, W, 3)``, read in slices.
            device: where to compute.
            generator: the source of every random number.
            checkpoint: a file to resume from if it exists, and to keep up to date.
            classifier: images to logits, on ``device``: the model that the key ``stability`` names;
                see `stability`.

        Returns:
            The weights by their names in this module; ``training_curve`` (epochs, 2), mean squared
            errors per pixel and channel of denoised images, in the training and on held-out images,
            pixels in [0, 1]; ``reconstruction_error``, on held-out images in the end.

        Raises:
            UserError: there are too few images, or ``stability`` names a model and ``classifier``
                is missing.
        """
        if self.stability is not None and classifier is None:
            raise UserError(
                "dncnn: stability names a model, but fit gets none. Pass the model as "
                "classifier, or remove the key."
            )
        seen, held_out = fitting.split(images, generator, "dncnn")
        self._begin(generator)
        self.to(device)
        learner = Learner(self, generator, classifier)
        return learner.fit(
            seen, held_out, device=device, generator=generator, checkpoint=checkpoint
        )

    def load(self, state: h5py.Group) -> None:
        """Take the weights."""
        load_weights(self, state)

    def _begin(self, generator: torch.Generator) -> None:
        """Random weights that change nothing yet: noise from the first step would be lasting."""
        quiet = [self.last, *(block.second for block in self.blocks if isinstance(block, Block))]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                assert module.bias is not None
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(module.bias)
        for module in quiet:
            nn.init.zeros_(module.weight)

    def disturb(self, images: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Put Gaussian noise on images ``(N, 3, H, W)`` in [0, 1].

        Returns:
            The noisy images, and the noise's standard deviation in each, ``(N,)``, on that scale.
        """
        generator = torch.Generator(images.device).manual_seed(seed)
        strengths = torch.tensor(self.sigmas, device=images.device) / 255
        levels = torch.randint(
            len(strengths), (len(images),), generator=generator, device=images.device
        )
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        return images + strengths[levels].view(-1, 1, 1, 1) * noise, strengths[levels]


class Block(nn.Module):
    """Two convolutions whose result is added to what they were given."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        return x + self.second(functional.relu(self.first(x)))


def stability(classifier: nn.Module, clean: Tensor, denoised: Tensor) -> Tensor:
    """How much a classifier's predictions change between images and what a denoiser made of them.

    Salman et al. 2020, "Denoised smoothing", the stability objective: the cross-entropy
    of the classes that are predicted for the clean images. It needs no labels.

    Args:
        classifier: images in [0, 1] to logits.
        clean: ``(N, 3, H, W)``.
        denoised: ``(N, 3, H, W)``, of the same images under noise.

    Returns:
        The mean, with a gradient to ``denoised``.
    """
    with torch.no_grad():
        predicted = classifier(clean).argmax(dim=1)
    return functional.cross_entropy(classifier(denoised), predicted)


class Learner(NetworkLearner):
    """The network and its optimiser while it learns.

    Args:
        network: changed in place.
        generator: gives the seeds of the noise.
        classifier: see `DnCNN.fit`.
    """

    longest = LONGEST
    network: DnCNN

    def __init__(
        self, network: DnCNN, generator: torch.Generator, classifier: nn.Module | None = None
    ) -> None:
        super().__init__(network, network.training_plan)
        self.generator = generator
        self.classifier = classifier
        # The held-out images' noise is the same after each epoch, and after an interruption.
        self.held_out_seed = self._seed()

    def _seed(self) -> int:
        return int(torch.randint(SEED, (), generator=self.generator))

    def step(self, clean: Tensor, noisy: Tensor, rate: float) -> float:
        """Learn from one batch of images in [0, 1]; see `fitting.Learner`.

        Squared errors count in units of the noise's variance: else the strongest noise would drown
        the others.
        """
        disturbed, strengths = self.network.disturb(noisy, self._seed())
        with compute.autocast(clean.device):
            denoised = self.network(disturbed)
            errors = (denoised - clean).square().mean(dim=(1, 2, 3))
            loss = (errors / strengths.square()).mean()
            if self.classifier is not None:
                loss = loss + STABILITY * stability(self.classifier, clean, denoised)
        self.descend(loss, rate)
        return errors.mean().item() * clean.numel()

    def disturbed(self, images: Tensor, start: int) -> Tensor:
        """Held-out images with noise on them."""
        return self.network.disturb(images, self.held_out_seed + start)[0]
