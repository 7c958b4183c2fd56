"""Randomised smoothing: predictions that no small change of the image alters (Cohen et al. 2019).

The smoothed network predicts the class that a network predicts most often under Gaussian noise of
standard deviation sigma. If that is the case with a probability of at least p > 1/2, it predicts
the same within an l_2 distance of ``sigma * Phi^-1(p)`` (theorem 1). This holds against every
attack; what is certified is the network with its noise, not the bare one.

Sigma and radii are in units of 1/255.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor, nn

from advrob.files.checkpoints import keep, kept
from advrob.images.pixels import to_tensor
from advrob.job.progress import progress

# Draws that choose the class, before others count how often it is predicted (the authors' n_0).
SELECTION = 100
# The probability that a certificate is wrong, the authors' alpha.
FAILURE = 0.001
# In place of a class where none can be certified.
ABSTAINED = -1


@dataclass(frozen=True)
class Certificate:
    """What CERTIFY says of an image.

    Attributes:
        predicted: the class, or `ABSTAINED`.
        radius: it is predicted at every l_2 distance below this; 0 after abstention.
        count: draws in which the chosen class was predicted, abstained or not.
    """

    predicted: int
    radius: float
    count: int


def lower_bound(successes: int, n: int, failure: float = FAILURE) -> float:
    """What a probability is at least, from ``successes`` in ``n`` trials (Clopper, Pearson 1934).

    The bound is exact and one-sided: it is too high with a probability of at most ``failure``.
    """
    return float(betaincinv(successes, n - successes + 1, failure)) if successes else 0.0


@torch.inference_mode()
def votes(
    network: nn.Module,
    image: Tensor,
    *,
    sigma: float,
    draws: int,
    batch_size: int,
    generator: torch.Generator,
) -> Tensor:
    """How often each class is predicted under noise (the authors' SAMPLEUNDERNOISE).

    Args:
        network: images to logits ``(N, classes)``.
        image: ``(3, H, W)`` in [0, 1], on the generator's device. Noise takes it beyond: clipped
            noise would not be Gaussian.
        sigma: standard deviation of the noise.
        draws: how many.
        batch_size: of them in the network at a time.
        generator: the noise.

    Returns:
        int64 ``(classes,)``.
    """
    total = torch.zeros((), dtype=torch.int64, device=image.device)
    # Channels last in memory, as stored images are: several times as fast on a CPU.
    pixels = image.permute(1, 2, 0)
    for start in range(0, draws, batch_size):
        shape = (min(batch_size, draws - start), *pixels.shape)
        noise = torch.randn(shape, generator=generator, device=image.device)
        logits = network((pixels + sigma / 255 * noise).permute(0, 3, 1, 2))
        total = total + logits.argmax(dim=1).bincount(minlength=logits.shape[1])
    return total


def certify(
    network: nn.Module,
    image: Tensor,
    *,
    sigma: float,
    draws: int,
    batch_size: int,
    generator: torch.Generator,
) -> Certificate:
    """Predict and certify one image (the authors' CERTIFY).

    The class is chosen by draws of its own: bounded by the same, its probability would be biased.
    The arguments are those of `votes`.
    """

    def sample(number: int) -> Tensor:
        return votes(
            network, image, sigma=sigma, draws=number, batch_size=batch_size, generator=generator
        )

    chosen = int(sample(SELECTION).argmax())
    count = int(sample(draws)[chosen])
    bound = lower_bound(count, draws)
    if bound <= 0.5:
        return Certificate(ABSTAINED, 0.0, count)
    return Certificate(chosen, sigma * NormalDist().inv_cdf(bound), count)


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
) -> list[list[Certificate]]:
    """Certify images under several strengths of noise, keeping each result in a file.

    Args:
        network: images to logits, on ``device``.
        images: 8-bit ``(N, H, W, 3)``.
        sigmas: standard deviations of the noise.
        draws: that count how often a class is predicted.
        batch_size: of them in the network at a time.
        device: where to compute.
        generator: of the noise, from the numbers of the sigma and the image.
        checkpoint: the file to go on from.

    Returns:
        Certificates by sigma and image.
    """
    found = [Certificate(*values) for values in kept(checkpoint).get("found", [])]
    cases = list(product(range(len(sigmas)), range(len(images))))[len(found) :]
    for row, number in progress(cases, "images certified", len(cases)):
        certificate = certify(
            network,
            to_tensor(images[number : number + 1], device)[0],
            sigma=sigmas[row],
            draws=draws,
            batch_size=batch_size,
            generator=generator(row, number),
        )
        found.append(certificate)
        keep(checkpoint, {"found": [(each.predicted, each.radius, each.count) for each in found]})
    return [found[row * len(images) :][: len(images)] for row in range(len(sigmas))]
