"""Fine-tuning a pretrained network by a lesson."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from advrob.defences.none import Identity
from advrob.errors import UserError
from advrob.files.store import ImageRows, Images
from advrob.images import labels
from advrob.images.pixels import to_tensor
from advrob.learning import fitting
from advrob.models import Model, learned
from advrob.models.prediction import NotFiniteError, predict
from advrob.networks import Network
from advrob.plug_ins import load
from advrob.training import Lesson, Pupil

# How much faster than pretrained weights those learn that begin at random.
NEW = 30.0


def train(
    model: Model,
    images: Images,
    stored: np.ndarray,
    *,
    method: str,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    predict_batch: int,
    device: torch.device,
    generator: torch.Generator,
    checkpoint: Path,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Fine-tune a network on the classes of the images.

    It answers the classes that the images have and no others. Where any image has no label, the
    network's own predictions stand for those that are missing (pseudo-labels, Lee 2013), and it
    goes on answering all classes. Batch normalisation keeps its pretrained statistics and dropout
    is off, so that training and prediction are the same function. AdamW, whose rate falls to 0
    linearly, in bfloat16 where the hardware has it; weights are float32.

    Args:
        model: the pretrained network; it is changed.
        images: 8-bit images ``(n, H, W, 3)``; 5 % of them measure and are not learned from.
        stored: their classes, int64 ``(n,)``, -1 where there is none.
        method: the name of a lesson.
        epochs: passes over the images; a lesson with replays makes as many fewer.
        batch_size: images to a step.
        learning_rate: at first.
        predict_batch: images at a time where nothing is learned.
        device: where ``model`` is.
        generator: a CPU generator, the source of every random number.
        checkpoint: a file to resume from if it exists, and to keep up to date.
        options: of the lesson.

    Returns:
        `advrob.models.learned`, ``training_curve`` (epochs, measurements) and
        ``training_measures``, the names of its columns: the loss, what the lesson measures, both
        means over an epoch, and the accuracy on held-out original images after it.

    Raises:
        UserError: there are too few images, or one class only, or training diverged.
    """
    network = Network(Identity().to(device), model, mixed=True)

    def answer(some: Images) -> np.ndarray:
        return predict([network], some, batch_size=predict_batch, device=device)[0][0]

    targets = _targets(model, images, stored, answer)
    model.network.requires_grad_(True)
    own, others = fitting.split(images, generator, f"train.method {method}")
    pupil = Pupil(model, images.shape[1], min(batch_size, len(own)), generator, device)
    lesson = load("lesson", method)(pupil, **options).to(device)
    optimiser = _optimiser(model, lesson)
    learning: dict[str, Any] = {"network": model.network, "lesson": lesson, "optimiser": optimiser}
    saved = fitting.resume(checkpoint, generator, device)
    for part, learner in learning.items() if saved else ():
        learner.load_state_dict(saved[part])

    def step(chosen: np.ndarray, share: float) -> list[float]:
        batch = to_tensor(fitting.vary(own[chosen], generator), device)
        wanted = torch.from_numpy(targets[own.numbers[chosen]]).to(device)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * share * group["factor"]
        lesson.progress = 1 - share
        return _show(lesson, network, optimiser, batch, wanted)

    names = ("loss", *lesson.measures, "accuracy, held out")
    curve = fitting.passes(
        step,
        lambda: [_held_out(answer, others, targets)],
        lambda: {part: learner.state_dict() for part, learner in learning.items()},
        what=f"train.method {method}",
        learning_rate=learning_rate,
        names=names,
        images=len(own),
        epochs=max(1, round(epochs / lesson.replays)),
        batch_size=batch_size,
        saved=saved,
        generator=generator,
        checkpoint=checkpoint,
    )
    model.network.requires_grad_(False)
    measures = np.array(names, dtype=object)
    return {**learned(model), "training_curve": curve, "training_measures": measures}


def _targets(
    model: Model,
    images: Images,
    stored: np.ndarray,
    answer: Callable[[Images], np.ndarray],
) -> np.ndarray:
    """The classes to learn; where all are stored, the model is told to answer no others."""
    missing = stored == labels.UNLABELLED
    if missing.any():
        print(f"{missing.sum()} images have no label: the network's own predictions are taken")
        return np.where(missing, answer(images), stored)
    known = np.unique(stored)
    if len(known) < 2:
        raise UserError(
            f"images.fit: all {len(stored)} images are of one class. Expected several to train "
            "a network on; name more classes or images there."
        )
    model.known = torch.from_numpy(known).to(next(model.network.parameters()).device)
    return stored


def _optimiser(model: Model, lesson: Lesson) -> torch.optim.Optimizer:
    """For the network and what the lesson has learn with it; ``factor`` is of the learning rate."""
    return torch.optim.AdamW(
        [
            {"params": [*model.network.parameters()], "factor": 1.0},
            {"params": lesson.taught(), "factor": NEW},
        ]
    )


def _held_out(
    answer: Callable[[Images], np.ndarray], others: ImageRows, targets: np.ndarray
) -> float:
    """The accuracy on images that are not learned from; not a number once training diverged."""
    try:
        return float(np.mean(answer(others) == targets[others.numbers]))
    except NotFiniteError:
        return math.nan


def _show(
    lesson: Lesson,
    network: Network,
    optimiser: torch.optim.Optimizer,
    batch: Tensor,
    wanted: Tensor,
) -> list[float]:
    """Show a batch as often as the lesson does; means of the loss and of what it measures."""
    found: list[list[float]] = []
    for _ in range(lesson.replays):
        loss, measured = lesson.loss(network, batch, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        lesson.update()
        found.append([float(loss.detach()), *measured])
    return np.mean(found, axis=0).tolist()
