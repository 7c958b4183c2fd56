"""Attacks on a network as a whole: what knows the model and the defence before it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from advrob import attacks
from advrob.attacks.expectation import Expectation
from advrob.attacks.pgd import gradient_of
from advrob.errors import UserError
from advrob.files.checkpoints import keep, kept
from advrob.files.store import Images
from advrob.findings import metrics
from advrob.images.pixels import to_tensor
from advrob.job import compute
from advrob.job.progress import progress
from advrob.networks import Network

# By how much another class's logit must exceed the label's: bfloat16 or another draw may take less
# back. The logits of networks that know their classes differ by five to fifteen.
SURPLUS = 0.5
# Images whose distances are computed at a time.
BLOCK = 64


class Attacker:
    """A configured attack on a network; where that draws random numbers, on its mean prediction.

    Args:
        network: a model behind a defence.
        kind: the attack's kind.
        options: its hyperparameters.
        draws: over how many draws of a stochastic defence the prediction is averaged.
    """

    def __init__(self, network: Network, kind: str, options: Mapping[str, Any], draws: int) -> None:
        self.attack = attacks.build(kind, options)
        self.draws = draws if network.defence.stochastic else 1
        self.network = Expectation(network, draws) if network.defence.stochastic else network

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Attacked images in multiples of 1/255; shapes are those of the attack."""
        return self.attack(self.network, images, labels, generator=generator, surplus=SURPLUS)


def sample(ids: Sequence[str], count: int, pattern: str | None, seed: int) -> np.ndarray:
    """The numbers of the images that are attacked, the same for every network, ascending.

    Args:
        ids: of all test images.
        count: how many are wanted; all if there are fewer.
        pattern: take only images whose file name matches it.
        seed: the configured seed.

    Raises:
        UserError: no image matches.
    """
    candidates = np.flatnonzero(metrics.select(ids, pattern))
    if not len(candidates):
        raise UserError(
            f"images.unseen: '{pattern}' matches none of the {len(ids)} test images. Correct it, "
            "or set it to null to attack any of them."
        )
    order = torch.randperm(len(candidates), generator=compute.generator(seed, "robustness"))
    return np.sort(candidates[order[:count].numpy()])


def distances(originals: Images, attacked: Images, norm: str) -> np.ndarray:
    """How far stored images are from their originals, float64 ``(N,)``, in units of 1/255.

    Args:
        originals: 8-bit images ``(N, H, W, 3)``.
        attacked: as many.
        norm: ``linf`` or ``l2``.
    """
    order = {"linf": np.inf, "l2": 2}[norm]
    found = []
    for start in range(0, len(attacked), BLOCK):
        part = slice(start, start + BLOCK)
        moves = attacked[part].astype(np.float32) - originals[part]
        found.append(np.linalg.norm(moves.reshape(len(moves), -1), order, axis=1))
    return np.concatenate(found).astype(np.float64)


@dataclass(frozen=True)
class Trial:
    """An attack of `budgets`: Auto-PGD inside an l_inf ball, so many gradients an image."""

    radius: float
    iterations: int


def budgets(
    network: Network,
    pixels: np.ndarray,
    labels: Tensor,
    trials: Sequence[Trial],
    *,
    draws: int,
    batch_size: int,
    device: torch.device,
    generator: Callable[[int, int], torch.Generator],
    checkpoint: Path,
) -> tuple[np.ndarray, np.ndarray]:
    """Which images hold in each of several trials, and how strong the network's gradients are.

    Every trial begins anew: that accuracy falls from one to the next is found, not presumed.

    Args:
        network: a model behind a defence, in mixed precision; what holds is decided in float32.
        pixels: 8-bit images ``(N, H, W, 3)``.
        labels: int64 ``(N,)``.
        trials: T of them; with radius or iterations 0 the images stay as they are.
        draws: see `Attacker`; an image holds if more than half of so many predictions are right.
        batch_size: images at a time, all their draws counted.
        device: where the network is.
        generator: makes the random numbers of a trial and a first image.
        checkpoint: a file to go on from, and to keep.

    Returns:
        bool ``(T, N)``; and the Euclidean lengths ``(N,)`` of the gradients of the cross-entropy at
        the images themselves.
    """
    exact = Network(network.defence, network.model, mixed=False)
    found = kept(checkpoint).get("found", {})
    starts = range(0, len(pixels), max(1, batch_size // draws))
    tasks = [(number, start) for number in range(len(trials)) for start in starts]
    for number, start in progress(tasks[len(found) :], "batches", len(tasks) - len(found)):
        rows = slice(start, start + starts.step)
        draw = network.defence.generator = generator(number, start)
        images, own = to_tensor(pixels[rows], device), labels[rows].to(device)
        batch = found[number, start] = {}
        if number == 0:
            _, gradient, _ = gradient_of(network, images, own)
            batch["lengths"] = gradient.flatten(1).norm(dim=1).cpu()
        trial = trials[number]
        if trial.radius and trial.iterations:
            options = {"loss": "cross_entropy", "norm": "linf", **vars(trial)}
            images = Attacker(network, "apgd", options, draws)(images, own, draw)
        batch["right"] = _votes(exact, images, own, draws).cpu()
        keep(checkpoint, {"found": found})

    def gathered(number: int, what: str) -> Tensor:
        return torch.cat([found[number, start][what] for start in starts])

    right = torch.stack([gathered(number, "right") for number in range(len(trials))])
    return right.numpy(), gathered(0, "lengths").numpy()


@torch.inference_mode()
def _votes(network: Network, images: Tensor, labels: Tensor, draws: int) -> Tensor:
    passes = draws if network.defence.stochastic else 1
    right = sum((network(images).argmax(dim=1) == labels).float() for _ in range(passes))
    return torch.as_tensor(right) > passes / 2
