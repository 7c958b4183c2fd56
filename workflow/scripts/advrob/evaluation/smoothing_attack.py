"""Attacks on a smoothed network: how far its predictions hold, and a check of its certificates.

A certificate is a proof up to `advrob.plan.certificates.FAILURE`; if an attack contradicts one,
the certification is wrong. Sigma, radii and distances are l_2, in units of 1/255.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor, nn

from advrob.attacks.bounds import lengths, within
from advrob.attacks.expectation import Expectation
from advrob.attacks.losses import gradient_of
from advrob.errors import UserError
from advrob.evaluation.smoothing import (
    ABSTAINED,
    Certificate,
    expect_noise,
    lower_bound,
    votes,
)
from advrob.files.checkpoints import load_checkpoint, save_checkpoint
from advrob.images.pixels import to_tensor
from advrob.job.progress import progress
from advrob.networks import Network

# The probability that a right certificate is called broken: thousands of them may be checked.
FALSE_ALARM = 1e-6


class FixedNoise(nn.Module):
    """A network under draws of noise that stay the same from pass to pass.

    Args:
        network: images to logits.
        noise: ``(draws, 3, H, W)``.
    """

    noise: Tensor

    def __init__(self, network: nn.Module, noise: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("noise", noise)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images ``(N * draws, 3, H, W)``, each given once for each draw."""
        return self.network(images + self.noise.repeat(len(images) // len(self.noise), 1, 1, 1))


def attack_smoothed(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    sigma: float,
    radii: Tensor,
    iterations: int,
    draws: int,
    generator: torch.Generator,
) -> Tensor:
    """Projected gradient descent on a smoothed network inside an l_2 ball.

    SmoothAdv (Salman et al. 2019, "Provably robust deep learning via adversarially trained smoothed
    classifiers", Section 2.2): the gradient is that of the logarithm of the label's
    mean probability under noise; the draws stay the same in all iterations. As there, a step is
    twice the radius over the number of iterations.

    The images are not rounded to 8 bits, for which certificates hold, too: in a photograph a change
    of such a length is less than a level nearly everywhere, and would be rounded away.

    Args:
        network: images to logits.
        images: ``(N, 3, H, W)`` in [0, 1].
        labels: the classes to lead away from, int64 ``(N,)``.
        sigma: standard deviation of the noise.
        radii: how far each image may move, ``(N,)``.
        iterations: number of steps.
        draws: over how many draws of noise the mean is taken; a batch has ``N * draws`` images.
        generator: the noise, and what a stochastic defence draws.

    Returns:
        Images ``(N, 3, H, W)`` in [0, 1], inside their balls: of each the iterate with the lowest
        mean probability of the label.
    """
    if isinstance(network, Network) and network.defence.stochastic:
        network.defence.generator = generator
    noise = torch.randn((draws, *images.shape[1:]), generator=generator, device=images.device)
    smoothed = Expectation(FixedNoise(network, noise * (sigma / 255)), draws)
    reach = radii.to(images).view(-1, 1, 1, 1) / 255
    moved, adversarial = images, images.clone()
    highest = torch.full((len(images),), -torch.inf, device=images.device)
    for step in range(iterations + 1):
        losses, gradient, _ = gradient_of(smoothed, moved, labels)
        better = losses > highest
        highest, adversarial[better] = torch.where(better, losses, highest), moved[better]
        if step == iterations:
            break
        moves = moved - images + 2 * reach / iterations * gradient / lengths(gradient)
        moved = (images + within(moves, "l2", reach)).clamp(0, 1)
    return adversarial


def broken_certificates(
    network: nn.Module,
    images: np.ndarray,
    certificates: Sequence[Certificate],
    *,
    sigma: float,
    iterations: int,
    draws: int,
    checks: int,
    batch_size: int,
    device: torch.device,
    generator: Callable[[int], torch.Generator],
    checkpoint: Path,
) -> list[int]:
    """The numbers of images whose certificates an attack contradicts; there should be none.

    Each image is attacked within its own radius R. At distance d from it the certified class has a
    probability of at least ``Phi((R - d) / sigma)`` under noise, by the theorem behind the
    certificate. Where fresh draws say that it is less, the certificate is wrong.

    Args:
        network: images to logits, on ``device``.
        images: 8-bit ``(N, H, W, 3)``.
        certificates: of the images, under noise of ``sigma``.
        sigma: standard deviation of the noise.
        iterations: see `attack_smoothed`.
        draws: see `attack_smoothed`.
        checks: draws that count how often the certified class is predicted after the attack.
        batch_size: draws in the network at a time, of the checks.
        device: where to compute.
        generator: of an image's noise, from its number.
        checkpoint: the file to resume from.
    """
    expect_noise(network, sigma)
    certified = [n for n, each in enumerate(certificates) if each.predicted != ABSTAINED]
    saved = load_checkpoint(checkpoint)
    broken: list[int] = saved.get("broken", [])
    done = saved.get("done", 0)
    for number in progress(certified[done:], "certificates attacked", len(certified) - done):
        certificate, noise = certificates[number], generator(number)
        image = to_tensor(images[number : number + 1], device)
        attacked = attack_smoothed(
            network,
            image,
            torch.tensor([certificate.predicted], device=device),
            sigma=sigma,
            radii=torch.tensor([certificate.radius]),
            iterations=iterations,
            draws=draws,
            generator=noise,
        )
        distance = 255 * (attacked - image).norm().item()
        (counts,) = votes(
            network,
            list(attacked),
            sigma=sigma,
            draws=checks,
            batch_size=batch_size,
            generators=[noise],
        ).tolist()
        others = checks - counts[certificate.predicted]
        highest = 1 - lower_bound(others, checks, FALSE_ALARM)
        if highest < NormalDist().cdf((certificate.radius - distance) / sigma):
            broken.append(number)
        done += 1
        save_checkpoint(checkpoint, {"broken": broken, "done": done})
    return broken


def holding(
    network: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    sigma: float,
    radii: Sequence[float],
    iterations: int,
    draws: int,
    checks: int,
    batch_size: int,
    device: torch.device,
    generator: Callable[[int, int], torch.Generator],
    checkpoint: Path,
) -> np.ndarray:
    """Which images a smoothed network still gets right under attack: empirical robustness.

    An attack within a radius is one within every larger radius, so an image that was lost is lost.
    The prediction is the majority's, without abstention: what a certificate's accuracy can reach.

    Args:
        network: images to logits, on ``device``.
        images: 8-bit ``(N, H, W, 3)``.
        labels: int64 ``(N,)``.
        sigma: standard deviation of the noise.
        radii: ascending; at 0 the images are the originals.
        iterations: see `attack_smoothed`.
        draws: see `attack_smoothed`.
        checks: draws that vote after the attack.
        batch_size: draws in the network at a time.
        device: where to compute.
        generator: of the noise, from the numbers of the radius and of the first image of a batch.
        checkpoint: the file to resume from.

    Returns:
        bool ``(radii, N)``.

    Raises:
        UserError: the radii do not ascend.
    """
    if list(radii) != sorted(radii):
        raise UserError(
            f"experiments.smoothing.radii: found {list(radii)}, expected numbers in ascending "
            "order."
        )
    expect_noise(network, sigma)
    size = max(1, batch_size // draws)
    cases = [(row, start) for row in range(len(radii)) for start in range(0, len(images), size)]
    saved = load_checkpoint(checkpoint)
    correct = saved.get("correct", torch.ones(len(radii), len(images), dtype=torch.bool))
    done = saved.get("done", 0)
    for row, start in progress(cases[done:], "batches", len(cases) - done):
        rows = torch.arange(start, min(start + size, len(images)))
        if row:
            correct[row, rows] = correct[row - 1, rows]
        rows = rows[correct[row, rows]]
        if len(rows):
            correct[row, rows] = _survive(
                network,
                to_tensor(images[rows.numpy()], device),
                torch.from_numpy(labels)[rows].to(device),
                sigma=sigma,
                radius=radii[row],
                iterations=iterations,
                draws=draws,
                checks=checks,
                batch_size=batch_size,
                generator=generator(row, start),
            )
        done += 1
        save_checkpoint(checkpoint, {"correct": correct, "done": done})
    return correct.numpy()


def _survive(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    sigma: float,
    radius: float,
    iterations: int,
    draws: int,
    checks: int,
    batch_size: int,
    generator: torch.Generator,
) -> Tensor:
    """Which of a batch of images keep the majority's vote, bool ``(N,)``; see `holding`."""
    if isinstance(network, Network) and network.defence.stochastic:
        network.defence.generator = generator
    if radius:
        images = attack_smoothed(
            network,
            images,
            labels,
            sigma=sigma,
            radii=torch.full((len(images),), float(radius)),
            iterations=iterations,
            draws=draws,
            generator=generator,
        )
    counted = votes(
        network,
        list(images),
        sigma=sigma,
        draws=checks,
        batch_size=batch_size,
        generators=[generator] * len(images),
    )
    return counted.argmax(dim=1) == labels.cpu()
