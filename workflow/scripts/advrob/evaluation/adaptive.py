"""Attacks on a network as a whole: what knows the model and the defence before it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from advrob import attacks
from advrob.attacks import losses
from advrob.attacks.bounds import Ball
from advrob.attacks.expectation import Expectation
from advrob.attacks.lattice import onto_lattice
from advrob.attacks.losses import gradient_of
from advrob.evaluation.samples import Sample
from advrob.files.checkpoints import load_checkpoint, resumed, save_checkpoint
from advrob.files.rows import Images
from advrob.images.pixels import to_tensor, to_uint8
from advrob.job.compute import Job
from advrob.job.progress import progress
from advrob.models.prediction import decided
from advrob.networks import Network

# By how much another class's logit must exceed the label's: bfloat16 or another draw may take less
# back. The logits of networks that know their classes differ by five to fifteen.
SURPLUS = 0.5
# What `budgets` climbs: the loss that stops short on few networks, and one that no scaling of the
# logits blinds (Croce and Hein 2020).
LOSSES = ("cross_entropy", "logits_ratio")
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
        # Whether it searches among real-valued images.
        self.real = options.get("levels", 256) is None
        self.bound = (options.get("norm", "linf"), options["radius"])
        self.draws = draws if network.defence.stochastic else 1
        self.network = Expectation(network, draws) if network.defence.stochastic else network

    def __call__(
        self, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Attacked images in multiples of 1/255, and as the attack left them.

        Both have the shape of ``images``. Real-valued adversarial images are rounded so that they
        still fool the network where that is possible; other attacks leave multiples of 1/255.
        """
        adversarial = self.attack(
            self.network, images, labels, generator=generator, surplus=SURPLUS
        )
        if not self.real:
            return adversarial, adversarial
        ball = Ball(images, *self.bound)
        rounded = onto_lattice(self.network, ball, adversarial, labels, surplus=SURPLUS)
        return rounded, adversarial


def attacked_images(
    network: Network,
    sample: Sample,
    name: str,
    entry: Mapping[str, Any],
    *,
    draws: int,
    job: Job,
    identity: Sequence[str],
    checkpoint: Path,
) -> dict[str, np.ndarray]:
    """Make images that a network gets wrong, batch by batch.

    Args:
        network: a model behind a defence, in mixed precision.
        sample: the images.
        name: the attack's name in the configuration.
        entry: its entry in the configuration.
        draws: see `Attacker`.
        job: seed, device and batch size, all draws of an image counted.
        identity: of the random numbers, beside the number of a batch's first image.
        checkpoint: a file to resume from, and to keep up to date.

    Returns:
        The arrays of an images file, and ``distances`` (N,), in units of 1/255. An attack on
        real-valued images adds ``correct_real`` (N,): whether the network classifies them correctly
        before they are rounded to 8 bits, decided in float32.
    """
    options = {key: value for key, value in entry.items() if key != "kind"}
    attacker = Attacker(network, entry.get("kind", name), options, draws)
    exact = Network(network.defence, network.model, mixed=False)
    labels, shape = sample.targets, sample.images.shape

    def work(rows: slice) -> np.ndarray:
        draw = network.defence.generator = job.generator(*identity, rows.start)
        batch, own = to_tensor(sample.images[rows], job.device), labels[rows].to(job.device)
        rounded, adversarial = attacker(batch, own, draw)
        pixels = to_uint8(rounded)
        if not attacker.real:
            return pixels
        correct = _votes(exact, adversarial, own, draws).cpu().numpy()
        return np.column_stack([pixels.reshape(len(pixels), -1), correct.astype(np.uint8)])

    size = max(1, job.batch_size // attacker.draws)
    # A row's last number is the outcome in real values.
    row = (math.prod(shape[1:]) + 1,) if attacker.real else shape[1:]
    rows = resumed(work, (shape[0], *row), batch_size=size, checkpoint=checkpoint)
    attacked = rows[:, :-1].reshape(shape) if attacker.real else rows
    return {
        **sample.arrays,
        "images": attacked,
        "classes": np.array(sample.classes, dtype=object),
        "distances": distances(sample.images, attacked, entry.get("norm", "linf")),
        **({"correct_real": rows[:, -1].astype(bool)} if attacker.real else {}),
    }


def distances(originals: Images, attacked: Images, norm: str) -> np.ndarray:
    """How far stored images are from their originals, float64 ``(N,)``, in units of 1/255.

    Args:
        originals: 8-bit images ``(N, H, W, 3)``.
        attacked: as many.
        norm: ``linf`` or ``l2``.
    """
    order = {"linf": np.inf, "l2": 2}[norm]
    norms = []
    for start in range(0, len(attacked), BLOCK):
        part = slice(start, start + BLOCK)
        moves = attacked[part].astype(np.float32) - originals[part]
        norms.append(np.linalg.norm(moves.reshape(len(moves), -1), order, axis=1))
    return np.concatenate(norms).astype(np.float64)


@dataclass(frozen=True)
class Trial:
    """An attack of `budgets`: Auto-PGD inside an l_inf ball, so many gradients an image."""

    radius: float
    iterations: int


def _trials(experiment: Mapping[str, Any]) -> tuple[list[Trial], list[Trial]]:
    """Those of the configuration's ``experiments.robustness``, by radius and by effort."""
    by_radius = [Trial(radius, experiment["iterations"]) for radius in experiment["radii"]]
    return by_radius, [Trial(experiment["radius"], effort) for effort in experiment["efforts"]]


def budgets(
    network: Network,
    sample: Sample,
    experiment: Mapping[str, Any],
    *,
    job: Job,
    identity: Sequence[str],
    checkpoint: Path,
) -> dict[str, np.ndarray]:
    """Which images hold within growing radii and by growing effort, and how strong gradients are.

    Every trial begins anew: that accuracy falls from one to the next is measured, not assumed. One
    that is both a radius and an effort is run once. An image holds in a trial if no loss of
    `LOSSES` breaks it, each tried on what the others left.

    Args:
        network: a model behind a defence, in mixed precision; what holds is decided in float32.
        sample: N images.
        experiment: the configuration's ``experiments.robustness``; with a radius of 0 the images
            stay as they are, and an image holds if more than half of its ``draws`` are right.
        job: seed, device and batch size, all draws of an image counted.
        identity: of the random numbers, beside those of a trial and of a batch's first image.
        checkpoint: a file to resume from, and to keep up to date.

    Returns:
        The arrays of a budget file; ``gradients`` are the Euclidean lengths of the gradients at the
        images themselves, of the loss of `LOSSES` that has the longer one.
    """
    by_radius, by_effort = _trials(experiment)
    trials, draws = [*dict.fromkeys(by_radius + by_effort)], experiment["draws"]
    exact = Network(network.defence, network.model, mixed=False)
    pixels, labels = sample.images[:], sample.targets
    finished = load_checkpoint(checkpoint).get("batches", {})
    starts = range(0, len(pixels), max(1, job.batch_size // draws))
    tasks = [(number, start) for number in range(len(trials)) for start in starts]
    for number, start in progress(tasks[len(finished) :], "batches", len(tasks) - len(finished)):
        rows = slice(start, start + starts.step)
        draw = network.defence.generator = job.generator(*identity, number, start)
        images, own = to_tensor(pixels[rows], job.device), labels[rows].to(job.device)
        batch = finished[number, start] = {}
        if number == 0:
            gradients = [
                gradient_of(network, images, own, losses.LOSSES[name])[1] for name in LOSSES
            ]
            batch["lengths"] = torch.stack(gradients).flatten(2).norm(dim=2).amax(dim=0).cpu()
        trial = trials[number]
        holding = _votes(exact, images, own, draws)
        for loss in LOSSES if trial.radius and trial.iterations else ():
            unbroken = holding.nonzero()[:, 0]
            if len(unbroken) == 0:
                break
            options = {"loss": loss, "norm": "linf", **vars(trial)}
            attacked, _ = Attacker(network, "apgd", options, draws)(
                images[unbroken], own[unbroken], draw
            )
            holding[unbroken] = _votes(exact, attacked, own[unbroken], draws)
        batch["correct"] = holding.cpu()
        save_checkpoint(checkpoint, {"batches": finished})

    def gathered(name: str, trial: Trial) -> np.ndarray:
        number = trials.index(trial)
        return torch.cat([finished[number, start][name] for start in starts]).numpy()

    return {
        "radii": np.array(experiment["radii"], np.float64),
        "correct": np.stack([gathered("correct", trial) for trial in by_radius]),
        "efforts": np.array(experiment["efforts"], np.int64),
        "correct_effort": np.stack([gathered("correct", trial) for trial in by_effort]),
        "gradients": gathered("lengths", trials[0]),
        "ids": sample.arrays["ids"],
    }


@torch.no_grad()
def _votes(network: Network, images: Tensor, labels: Tensor, draws: int) -> Tensor:
    passes = draws if network.defence.stochastic else 1
    correct = sum((decided(network(images)) == labels).float() for _ in range(passes))
    return torch.as_tensor(correct) > passes / 2
