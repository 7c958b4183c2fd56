"""Randomised smoothing: predictions that no small change of the image alters (Cohen et al. 2019).

The smoothed network predicts the class that a network predicts most often under Gaussian noise of
standard deviation sigma. If that is the case with a probability of at least p > 1/2, it predicts
the same within an l_2 distance of ``sigma * Phi^-1(p)`` (theorem 1). This holds against every
attack; what is certified is the network with its noise, not the bare one.

The network may be a model behind a defence: noise is added to the image, so the defence sees noisy
images and is certified with the model. A denoiser there is denoised smoothing (Salman et al. 2020).

Sigma and radii are in units of 1/255.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from scipy.special import bdtr, betaincinv
from torch import Tensor, nn

from advrob.errors import UserError
from advrob.files.checkpoints import load_checkpoint, save_checkpoint
from advrob.images.pixels import to_tensor
from advrob.job.progress import progress
from advrob.models.prediction import decided
from advrob.networks import Network
from advrob.plan.certificates import FAILURE

# Draws that choose the class, before others count how often it is predicted (the authors' n_0).
SELECTION = 100
# In place of a class where none can be certified.
ABSTAINED = -1
# The probability at most that stopping early forgoes a certificate; see `stops`.
FORGONE = 0.001
# Draws of an image between two looks at its count, at most: also what a job loses when it is cut.
BLOCK = 1000
# Images are certified together until the draws that choose their classes fill so many batches.
BATCHES = 4


@dataclass(frozen=True)
class Certificate:
    """What CERTIFY says of an image.

    Attributes:
        predicted: the class, or `ABSTAINED`.
        radius: it is predicted at every l_2 distance below this; 0 after abstention.
        count: draws in which the chosen class was predicted, abstained or not.
        drawn: of how many; fewer than asked for where the draws were stopped early.
    """

    predicted: int
    radius: float
    count: int
    drawn: int


def lower_bound(successes: int, n: int, failure: float = FAILURE) -> float:
    """What a probability is at least, from ``successes`` in ``n`` trials (Clopper, Pearson 1934).

    The bound is exact and one-sided: it is too high with a probability of at most ``failure``.
    """
    return float(betaincinv(successes, n - successes + 1, failure)) if successes else 0.0


def radius(count: int, draws: int, sigma: float) -> float:
    """The radius that a class predicted in ``count`` of ``draws`` is certified to; 0 for none."""
    bound = lower_bound(count, draws)
    return sigma * NormalDist().inv_cdf(bound) if bound > 0.5 else 0.0


def needed(draws: int, sigma: float, smallest: float) -> int:
    """The least count of ``draws`` that certifies a radius above 0 and of at least ``smallest``.

    Raises:
        UserError: no count does.
    """

    def enough(count: int) -> bool:
        return radius(count, draws, sigma) >= max(smallest, np.finfo(float).tiny)

    least = bisect_left(range(draws + 1), True, key=enough)
    if least > draws:
        raise UserError(
            f"experiments.smoothing: {draws} draws of noise of sigma {sigma:g} certify a radius of "
            f"at most {radius(draws, draws, sigma):.3g}; expected a radius above 0 that reaches "
            f"the smallest of radii, {smallest:g}. Raise draws or sigmas, or name a smaller radius."
        )
    return least


def blocks(draws: int) -> Iterator[int]:
    """How many draws count a class before each look at the count, ``draws`` together."""
    done = 0
    while done < draws:
        yield (size := min(max(SELECTION, done), BLOCK, draws - done))
        done += size


def stops(count: int, drawn: int, *, aim: int, draws: int) -> bool:
    """Whether to stop drawing for an image that is hardly ever certified.

    A certificate is only given after all draws, with the bound of all draws, so stopping can take
    one back but never gives one: it is wrong no more often than `FAILURE`. And it is taken back
    with a probability of at most `FORGONE`, over all looks, from an image whose class has a
    probability of ``aim / draws`` or more: one in two such images, or more, would be certified.

    Args:
        count: draws in which the chosen class was predicted, of those that chose it or of those
            that count it.
        drawn: of how many.
        aim: the count that is `needed` in the end.
        draws: how many there are to be in the end.
    """
    looks = 1 + sum(1 for _ in blocks(draws))
    return bool(bdtr(count, drawn, aim / draws) < FORGONE / looks)


@torch.inference_mode()
def votes(
    network: nn.Module,
    images: Sequence[Tensor],
    *,
    sigma: float,
    draws: int,
    batch_size: int,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """How often each class is predicted under noise (the authors' SAMPLEUNDERNOISE).

    Batches are filled across images. An image's noise depends neither on the other images nor on
    the size of batches.

    Args:
        network: images to logits ``(N, classes)``.
        images: ``(3, H, W)`` each, in [0, 1]. Noise takes them beyond: clipped noise would not be
            Gaussian.
        sigma: standard deviation of the noise.
        draws: how many of each image.
        batch_size: draws in the network at a time.
        generators: the noise of each image, on the images' device.

    Returns:
        int64 ``(images, classes)``.
    """
    # Channels last in memory, as stored images are: several times as fast on a CPU.
    pixels = [image.permute(1, 2, 0) for image in images]
    total = torch.zeros((), dtype=torch.int64)
    for owners in torch.arange(len(images)).repeat_interleave(draws).split(batch_size):
        noisy = [
            torch.randn(pixels[owner].shape, generator=generators[owner], device=images[0].device)
            .mul_(sigma / 255)
            .add_(pixels[owner])
            for owner in owners.tolist()
        ]
        logits = network(torch.stack(noisy).permute(0, 3, 1, 2))
        classes = logits.shape[1]
        bins = owners * classes + decided(logits).cpu()
        total = total + bins.bincount(minlength=len(images) * classes)
    return total.view(len(images), classes)


def expect_noise(network: nn.Module, sigma: float) -> None:
    """Have the defence of a `Network` adapt to noise of ``sigma``, in units of 1/255."""
    if isinstance(network, Network):
        network.defence.expect(sigma)


class Certification:
    """CERTIFY of the authors, of images whose draws share batches, look by look.

    The class is chosen by draws of its own: bounded by the same, its probability would be biased.

    Args:
        network: images to logits, on the images' device. A stochastic defence in a `Network` draws
            afresh in every pass, from a generator that is set here.
        images: ``(3, H, W)`` each, in [0, 1].
        sigma: standard deviation of the noise.
        draws: that count how often a class is predicted.
        batch_size: draws in the network at a time.
        generators: the noise of each image.
        smallest: radius that is of interest; see `stops`.
    """

    CHANGING = ("blocks", "chosen", "counts", "drawn", "open")

    def __init__(
        self,
        network: nn.Module,
        images: Sequence[Tensor],
        *,
        sigma: float,
        draws: int,
        batch_size: int,
        generators: Sequence[torch.Generator],
        smallest: float = 0.0,
    ) -> None:
        self.network, self.images, self.generators = network, images, list(generators)
        self.sigma, self.draws, self.batch_size = sigma, draws, batch_size
        self.aim = needed(draws, sigma, smallest)
        expect_noise(network, sigma)
        self.blocks = [SELECTION, *blocks(draws)]
        self.chosen: list[int] = []
        self.counts, self.drawn = [0] * len(images), [0] * len(images)
        self.open = list(range(len(images)))
        self.random = list(self.generators)
        if isinstance(network, Network) and network.defence.stochastic:
            # Seeded by noise that a copy draws, so that the noise itself is that of any network.
            seeding = generators[0].clone_state()
            seed = int(torch.randint(2**62, (), generator=seeding, device=seeding.device))
            network.defence.generator = torch.Generator(seeding.device).manual_seed(seed)
            self.random.append(network.defence.generator)

    @property
    def done(self) -> bool:
        """Whether every image has all of its draws or was stopped."""
        return not (self.blocks and self.open)

    def look(self) -> None:
        """Take the next draws of every image that is not stopped, and stop those that cannot be."""
        size = self.blocks.pop(0)
        totals = votes(
            self.network,
            [self.images[number] for number in self.open],
            sigma=self.sigma,
            draws=size,
            batch_size=self.batch_size,
            generators=[self.generators[number] for number in self.open],
        )
        if not self.chosen:
            self.chosen = totals.argmax(dim=1).tolist()
            seen = [(count, size) for count in totals.amax(dim=1).tolist()]
        else:
            for number, row in zip(self.open, totals.tolist(), strict=True):
                self.counts[number] += row[self.chosen[number]]
                self.drawn[number] += size
            seen = [(self.counts[number], self.drawn[number]) for number in self.open]
        self.open = [
            number
            for number, (count, drawn) in zip(self.open, seen, strict=True)
            if not stops(count, drawn, aim=self.aim, draws=self.draws)
        ]

    def certificates(self) -> list[Certificate]:
        """What is known of the images once all is `done`."""
        finished = []
        for chosen, count, drawn in zip(self.chosen, self.counts, self.drawn, strict=True):
            reached = radius(count, drawn, self.sigma) if drawn == self.draws else 0.0
            finished.append(Certificate(chosen if reached else ABSTAINED, reached, count, drawn))
        return finished

    def state(self) -> dict[str, Any]:
        """All that changes."""
        return {
            **{name: getattr(self, name) for name in self.CHANGING},
            "random": [generator.get_state() for generator in self.random],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        for name in self.CHANGING:
            setattr(self, name, state[name])
        for generator, value in zip(self.random, state["random"], strict=True):
            generator.set_state(value)


def certificates(
    network: nn.Module,
    images: np.ndarray,
    *,
    sigmas: Sequence[float],
    draws: int,
    batch_size: int,
    device: torch.device,
    generator: Callable[[int, int], torch.Generator],
    checkpoint: Path,
    smallest: float = 0.0,
) -> list[list[Certificate]]:
    """Certify images under several strengths of noise, keeping what is found in a file.

    Args:
        network: images to logits, on ``device``; see `Certification`.
        images: 8-bit ``(N, H, W, 3)``.
        sigmas: standard deviations of the noise.
        draws: that count how often a class is predicted, at most.
        batch_size: draws in the network at a time.
        device: where to compute.
        generator: of the noise, from the numbers of the sigma and the image.
        checkpoint: the file to resume from.
        smallest: radius that is of interest: an image that cannot be certified to it is not drawn
            to the end, and counts as abstained.

    Returns:
        Certificates by sigma and image.

    Raises:
        UserError: so many draws certify no radius of interest.
    """
    saved = load_checkpoint(checkpoint)
    finished = [Certificate(*values) for values in saved.get("certificates", [])]
    size = -(-BATCHES * batch_size // SELECTION)
    starts = [(row, start) for row in range(len(sigmas)) for start in range(0, len(images), size)]
    left = [each for each in starts if each[0] * len(images) + each[1] >= len(finished)]
    for row, start in progress(left, f"groups of {size} images certified", len(left)):
        numbers = range(len(images))[start : start + size]
        group = Certification(
            network,
            list(to_tensor(images[start : start + size], device)),
            sigma=sigmas[row],
            draws=draws,
            batch_size=batch_size,
            generators=[generator(row, number) for number in numbers],
            smallest=smallest,
        )
        if "group" in saved:
            group.load(saved.pop("group"))
        while not group.done:
            group.look()
            rows = [astuple(each) for each in finished]
            save_checkpoint(checkpoint, {"certificates": rows, "group": group.state()})
        finished += group.certificates()
        save_checkpoint(checkpoint, {"certificates": [astuple(each) for each in finished]})
    return [finished[row * len(images) :][: len(images)] for row in range(len(sigmas))]
