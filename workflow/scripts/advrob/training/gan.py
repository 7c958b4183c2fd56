"""A generative adversarial network whose generator draws adversarial perturbations.

Goodfellow et al. (2014), the paper's equation 2, with the convolutional layers of Radford et al.
(2016): strided convolutions in place of pooling, batch normalisation, no hidden linear layers. The
classifier's loss in between makes the perturbations adversarial, as in Xiao et al., "Generating
Adversarial Examples with Adversarial Networks" (2018).
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advrob.attacks.bounds import Ball
from advrob.errors import UserError
from advrob.files.rows import ImageRows
from advrob.images.pixels import to_tensor, to_uint8
from advrob.job.compute import autocast
from advrob.learning.fitting import resume, run_epochs
from advrob.learning.weights import load_weights, weight_arrays
from advrob.training import Lesson, Pupil, batch_accuracy

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
# The generator starts from, and the discriminator ends at, feature maps of at most this side.
SMALLEST = 7


def doublings(size: int) -> int:
    """How many times a side of ``size`` pixels must be halved to be at most `SMALLEST`.

    Raises:
        UserError: it becomes odd before.
    """
    count, side = 0, size
    while side > SMALLEST and side % 2 == 0:
        count, side = count + 1, side // 2
    if side > SMALLEST or not count:
        raise UserError(
            f"size: found {size}, which cannot be halved to {SMALLEST} pixels or fewer. Expected 1 "
            f"to {SMALLEST} times a power of two, such as 224 = 7 x 32."
        )
    return count


class Generator(nn.Module):
    """Random vectors to image-agnostic perturbations.

    A linear layer makes a small map of features; each stage doubles its side and halves its
    channels; tanh bounds the result, so that every perturbation is within the radius.

    Args:
        latent: length of the random vectors.
        size: side of the perturbations in pixels: 1 to 7 times a power of two.
        channels: features of the last stage but one; twice as many in each stage before.
        radius: the largest change of a pixel, in units of 1/255.

    Raises:
        UserError: ``size`` cannot be reached by doubling.
    """

    def __init__(
        self, *, latent: int = 100, size: int = 224, channels: int = 16, radius: float = 10
    ) -> None:
        super().__init__()
        stages = doublings(size)
        widths = [channels << stage for stage in reversed(range(stages))]
        side = size >> stages
        self.latent = latent
        self.radius = radius
        self.project = nn.Sequential(
            nn.Linear(latent, widths[0] * side**2, bias=False),
            nn.Unflatten(1, (widths[0], side, side)),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.upsample = nn.Sequential()
        for in_channels, out_channels in pairwise(widths):
            self.upsample.extend(
                (
                    nn.ConvTranspose2d(
                        in_channels, out_channels, 4, stride=2, padding=1, bias=False
                    ),
                    nn.BatchNorm2d(out_channels),
                    nn.ReLU(inplace=True),
                )
            )
        self.upsample.extend((nn.ConvTranspose2d(widths[-1], 3, 4, stride=2, padding=1), nn.Tanh()))

    def forward(self, vectors: Tensor) -> Tensor:
        """Perturbations ``(N, 3, size, size)`` of images in [0, 1] from vectors ``(N, latent)``.

        Vectors are standard normal. Values are within ``radius / 255`` of zero.
        """
        return self.upsample(self.project(vectors)) * (self.radius / 255)


class Discriminator(nn.Module):
    """Images to one logit each: above zero where an image looks like an original one.

    Args:
        size: side of the images in pixels: 1 to 7 times a power of two.
        channels: features of the first stage; twice as many in each stage after.

    Raises:
        UserError: ``size`` does not halve down to a small map.
    """

    def __init__(self, *, size: int = 224, channels: int = 16) -> None:
        super().__init__()
        stages = doublings(size)
        self.downsample = nn.Sequential()
        in_channels = 3
        for stage in range(stages):
            out_channels = channels << stage
            # No normalisation of the first features, which would hide the images' contrast.
            normalise = [nn.BatchNorm2d(out_channels)] if stage else []
            self.downsample.extend(
                (
                    nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1, bias=not stage),
                    *normalise,
                    nn.LeakyReLU(0.2, inplace=True),
                )
            )
            in_channels = out_channels
        self.judge = nn.Sequential(nn.Conv2d(in_channels, 1, size >> stages), nn.Flatten(0))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N,)`` of images ``(N, 3, size, size)`` in [0, 1]."""
        return self.judge(self.downsample(images))


class Game(nn.Module):
    """The two players and their optimisers.

    The paper's equation 2, whose second term is log(1 - D(G(z))): the discriminator raises
    log D(x) + log(1 - D(x + G(z))), x being original images and z random. The generator raises
    log D(x + G(z)), which has the same fixed point and a steeper gradient (Goodfellow et al. 2014,
    Section 3), and with it the classifier's cross-entropy, cut off at `BETA` for each image so that
    a few that are fooled by far do not set the direction.

    Args:
        size: side of the images in pixels.
        draws: the source of the random vectors.
        device: where the players are.
        radius: bound on each pixel's change, in units of 1/255.
        latent: length of the random vectors.
        realism: weight of the discriminator's part in the generator's loss.
        learning_rate: Adam's, of both players.
    """

    MEASURES = ("discriminator's loss", "generator's loss", "classifier's loss, attacked")
    BETA = 9.0
    # Adam's first decay rate, as in Radford et al. (2016).
    MOMENTUM = 0.5

    def __init__(
        self,
        size: int,
        draws: torch.Generator,
        device: torch.device,
        *,
        radius: float = 10.0,
        latent: int = 100,
        realism: float = 1.0,
        learning_rate: float = 1e-3,
    ) -> None:
        super().__init__()
        self.draws, self.realism = draws, realism
        self.generator = Generator(latent=latent, size=size, radius=radius)
        self.discriminator = Discriminator(size=size)
        for weights in self.parameters():
            # As Radford et al. (2016) begin; what has one dimension is a bias or a normalisation.
            if weights.ndim > 1:
                nn.init.normal_(weights, std=0.02, generator=draws)
        for bias in (layer.bias for layer in self.modules() if isinstance(layer, CONVOLUTIONS)):
            if bias is not None:
                nn.init.zeros_(bias)
        self.to(device).to(memory_format=torch.channels_last)
        self.optimisers = {
            name: torch.optim.Adam(player.parameters(), learning_rate, betas=(self.MOMENTUM, 0.999))
            for name, player in self.named_children()
        }

    def attacked(self, images: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)``, each with a fresh perturbation, clipped to [0, 1]."""
        shape = (len(images), self.generator.latent)
        vectors = torch.randn(shape, generator=self.draws, device=self.draws.device)
        with autocast(images.device):
            perturbations = self.generator(vectors.to(images.device))
        return (images + perturbations.float()).clamp(0, 1)

    def play(self, network: nn.Module, images: Tensor, labels: Tensor) -> list[float]:
        """One step of each player.

        Args:
            network: the classifier in between, images to logits.
            images: original ones, ``(N, 3, H, W)`` in [0, 1].
            labels: what the classifier is to be led away from, int64 ``(N,)``.

        Returns:
            What `MEASURES` names.
        """
        attacked = self.attacked(images)
        with autocast(images.device):
            real, false = self.discriminator(images), self.discriminator(attacked.detach())
        discriminator_loss = (F.softplus(-real.float()) + F.softplus(false.float())).mean()
        self._step("discriminator", discriminator_loss)
        with autocast(images.device):
            realism_loss = F.softplus(-self.discriminator(attacked).float()).mean()
        losses = F.cross_entropy(network(attacked), labels, reduction="none")
        self._step("generator", self.realism * realism_loss - losses.clamp(max=self.BETA).mean())
        return [
            float(discriminator_loss.detach()),
            float(realism_loss.detach()),
            float(losses.detach().mean()),
        ]

    def _step(self, name: str, loss: Tensor) -> None:
        # Gradients of this player alone: those of the classifier's weights would be wasted work.
        weights = list(getattr(self, name).parameters())
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = gradient
        self.optimisers[name].step()

    def get_extra_state(self) -> dict[str, Any]:
        """The optimisers' states, for `state_dict`."""
        return {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Load them again."""
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state[name])


class Adversary(Lesson):
    """Train on original and on generated images; generator and network learn in turn.

    Args:
        pupil: who is taught.
        radius: bound on each pixel's change, in units of 1/255.
        latent: length of the random vectors.
        realism: weight of the discriminator in the generator's loss.
    """

    # Passes of the generator's game, and images held for one of a batch.
    passes = 4
    held = 2
    measures = ("accuracy while learning, attacked", *Game.MEASURES)

    def __init__(
        self,
        pupil: Pupil,
        *,
        radius: Annotated[float, {"exclusiveMinimum": 0, "levels": True}] = 10.0,
        latent: Annotated[int, {"minimum": 1}] = 100,
        realism: Annotated[float, {"minimum": 0}] = 1.0,
    ) -> None:
        super().__init__()
        self.game = Game(
            pupil.size,
            pupil.generator,
            pupil.device,
            radius=radius,
            latent=latent,
            realism=realism,
        )

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, list[float]]:
        """See `Lesson.loss`."""
        measured = self.game.play(network, images, labels)
        with torch.no_grad():
            attacked = self.game.attacked(images)
        logits = network(torch.cat((images, attacked)))
        loss = F.cross_entropy(logits, labels.repeat(2))
        return loss, [batch_accuracy(logits[len(images) :], labels), *measured]


def train_generator(
    network: nn.Module,
    images: ImageRows,
    predicted: np.ndarray,
    *,
    device: torch.device,
    generator: torch.Generator,
    epochs: int,
    batch_size: int,
    checkpoint: Path,
    learning_rate: float = 1e-3,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Train a generator of perturbations against a network that stays as it is.

    Args:
        network: images in [0, 1] to logits.
        images: 8-bit images ``(n, H, W, 3)``, read in batches.
        predicted: the network's own predictions for them, int64 ``(n,)``; no labels are needed.
        device: where the network is.
        generator: orders the images and draws the vectors.
        epochs: passes over the images.
        batch_size: images to a step.
        checkpoint: a file to resume from if it exists, and to keep up to date.
        learning_rate: Adam's, of both players.
        options: of `Game`.

    Returns:
        The generator's weights by their names in it, ``training_curve`` (epochs, 3) and
        ``training_measures``, the names of its columns.

    Raises:
        UserError: training diverged.
    """
    game = Game(images.shape[1], generator, device, learning_rate=learning_rate, **options)
    saved = resume(checkpoint, generator, device)
    if saved:
        game.load_state_dict(saved["game"])

    def step(indices: np.ndarray, share: float) -> list[float]:
        labels = torch.from_numpy(predicted[indices]).to(device)
        return game.play(network, to_tensor(images[indices], device), labels)

    curve = run_epochs(
        step,
        list,
        lambda: {"game": game.state_dict()},
        subject="perturbations.gan",
        learning_rate=learning_rate,
        names=Game.MEASURES,
        images=len(images),
        epochs=epochs,
        batch_size=batch_size,
        saved=saved,
        generator=generator,
        checkpoint=checkpoint,
    )
    names = np.array(Game.MEASURES, dtype=object)
    return {**weight_arrays(game.generator), "training_curve": curve, "training_measures": names}


def load_generator(state: h5py.Group, params: Mapping[str, Any], size: int) -> Generator:
    """A generator that `train_generator` has trained, ready for use.

    Args:
        state: what that returned.
        params: with the options ``latent`` and ``radius`` that it was given.
        size: side of the images in pixels.
    """
    generator = Generator(latent=params["latent"], size=size, radius=params["radius"])
    load_weights(generator, state)
    return generator.eval().requires_grad_(False)


@torch.inference_mode()
def apply(generator: Generator, images: np.ndarray, vectors: Tensor) -> np.ndarray:
    """Images with a perturbation each.

    Args:
        generator: what makes them.
        images: 8-bit ``(N, H, W, 3)``.
        vectors: standard normal, ``(N, latent)``.

    Returns:
        8-bit images of the same shape, within the generator's radius of the originals.
    """
    originals = to_tensor(images)
    ball = Ball(originals, "linf", generator.radius)
    return to_uint8(ball.stored(originals + generator(vectors)))
