"""Fine-tuning a pretrained network by a lesson."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from advrob.defences.none import Identity
from advrob.errors import UserError
from advrob.files.rows import ImageRows, Images
from advrob.images import labels
from advrob.images.pixels import to_tensor
from advrob.learning import fitting
from advrob.models import Model, trained_state
from advrob.models.prediction import predict
from advrob.networks import Network
from advrob.plug_ins import load
from advrob.training import Lesson, Pupil

# The learning rate of randomly initialised layers, as a multiple of that of pretrained ones.
NEW_LAYER_RATE = 30.0
# Training diverged if the network is right no more often than one that guesses, and its loss is so
# many times as large. A loss alone may be large: that of attacked images, before it is lowered.
FAR = 10.0


def train(
    model: Model,
    images: Images,
    stored_labels: np.ndarray,
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

    Afterwards it predicts only the classes that the images have. Where any image has no label, the
    network's own predictions take the place of missing labels (pseudo-labels, Lee 2013), and it
    still predicts all classes. Batch normalisation keeps its pretrained statistics and dropout
    is off, so that training and prediction are the same function. AdamW, whose rate falls to 0
    linearly, in bfloat16 where the hardware has it; weights are float32.

    Args:
        model: the pretrained network; it is changed.
        images: 8-bit images ``(n, H, W, 3)``; 5 % of them measure and are not learned from.
        stored_labels: their classes, int64 ``(n,)``, -1 where there is none.
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
        `advrob.models.trained_state`, ``training_curve`` (epochs, measurements) and
        ``training_measures``, the names of its columns: the loss, what the lesson measures, both
        means over an epoch, and the loss and the accuracy on held-out original images after it.

    Raises:
        UserError: there are too few images, or only one class, or training diverged.
    """
    network = Network(Identity().to(device), model, mixed=True)

    def predict_classes(images: Images) -> np.ndarray:
        return predict([network], images, batch_size=predict_batch, device=device)[0][0]

    targets = _targets(model, images, stored_labels, predict_classes)
    model.network.requires_grad_(True)
    training, held_out = fitting.split(images, generator, f"train.method {method}")
    pupil = Pupil(model, images.shape[1], min(batch_size, len(training)), generator, device)
    lesson = load("lesson", method)(pupil, **options).to(device)
    optimiser = _optimiser(model, lesson)
    learning: dict[str, Any] = {"network": model.network, "lesson": lesson, "optimiser": optimiser}
    saved = fitting.resume(checkpoint, generator, device)
    for part, learner in learning.items() if saved else ():
        learner.load_state_dict(saved[part])

    def step(indices: np.ndarray, share: float) -> list[float]:
        batch = to_tensor(fitting.vary(training[indices], generator), device)
        batch_targets = torch.from_numpy(targets[training.numbers[indices]]).to(device)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * share * group["factor"]
        lesson.progress = 1 - share
        return _train_on_batch(lesson, network, optimiser, batch, batch_targets)

    names = ("loss", *lesson.measures, "loss, held out", "accuracy, held out")
    curve = fitting.run_epochs(
        step,
        partial(_held_out, network, held_out, targets, predict_batch, device),
        lambda: {part: learner.state_dict() for part, learner in learning.items()},
        subject=f"train.method {method}",
        learning_rate=learning_rate,
        names=names,
        images=len(training),
        epochs=max(1, round(epochs / lesson.replays)),
        batch_size=batch_size,
        saved=saved,
        generator=generator,
        checkpoint=checkpoint,
        worst=partial(_worst, len(np.unique(targets))),
    )
    model.network.requires_grad_(False)
    measures = np.array(names, dtype=object)
    return {**trained_state(model), "training_curve": curve, "training_measures": measures}


def _targets(
    model: Model,
    images: Images,
    stored_labels: np.ndarray,
    predict_classes: Callable[[Images], np.ndarray],
) -> np.ndarray:
    """The classes to learn; where all labels are stored, the model is limited to those."""
    unlabelled = stored_labels == labels.UNLABELLED
    if unlabelled.any():
        print(f"{unlabelled.sum()} images have no label: the network's own predictions are taken")
        return np.where(unlabelled, predict_classes(images), stored_labels)
    classes = np.unique(stored_labels)
    if len(classes) < 2:
        raise UserError(
            f"images.fit: all {len(stored_labels)} images are of one class. Expected several to "
            "train a network on; name more classes or images there."
        )
    model.class_subset = torch.from_numpy(classes).to(next(model.network.parameters()).device)
    return stored_labels


def _optimiser(model: Model, lesson: Lesson) -> torch.optim.Optimizer:
    """AdamW for the network and the lesson's parameters; ``factor`` scales the learning rate."""
    return torch.optim.AdamW(
        [
            {"params": [*model.network.parameters()], "factor": 1.0},
            {"params": lesson.extra_parameters(), "factor": NEW_LAYER_RATE},
        ]
    )


@torch.no_grad()
def _held_out(
    network: Network,
    held_out: ImageRows,
    targets: np.ndarray,
    batch_size: int,
    device: torch.device,
) -> tuple[float, float]:
    """Cross-entropy and accuracy on held-out images, both means."""
    loss = right = 0.0
    for start in range(0, len(held_out), batch_size):
        rows = slice(start, start + batch_size)
        logits = network(to_tensor(held_out[rows], device))
        classes = torch.from_numpy(targets[held_out.numbers[rows]]).to(device)
        loss += float(F.cross_entropy(logits, classes, reduction="sum"))
        right += float((logits.argmax(dim=1) == classes).sum())
    return loss / len(held_out), right / len(held_out)


def _worst(
    classes: int, first: Mapping[str, float], epoch: Mapping[str, float]
) -> dict[str, float]:
    """What the losses may be at most; see `FAR`."""
    if epoch["accuracy, held out"] <= 1 / classes:
        return dict.fromkeys(
            ("loss", "loss, held out"), FAR * max(math.log(classes), first["loss"])
        )
    return {"loss, held out": fitting.RISE * max(1.0, first["loss"])}


def _train_on_batch(
    lesson: Lesson,
    network: Network,
    optimiser: torch.optim.Optimizer,
    batch: Tensor,
    targets: Tensor,
) -> list[float]:
    """Learn from a batch as often as the lesson says; means of the loss and its measurements."""
    measurements: list[list[float]] = []
    for _ in range(lesson.replays):
        # Copies: other people's lessons may write into what they are given.
        loss, measured = _checked(lesson, lesson.loss(network, batch.clone(), targets.clone()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        lesson.update()
        measurements.append([float(loss.detach()), *measured])
    return np.mean(measurements, axis=0).tolist()


def _checked(lesson: Lesson, answer: Any) -> tuple[Tensor, Sequence[float]]:
    """What a lesson's `Lesson.loss` returns.

    Raises:
        UserError: it is not a loss and the measurements that the lesson names.
    """
    match answer:
        case (Tensor() as loss, list() | tuple() as measured) if (
            loss.numel() == 1 and loss.requires_grad and len(measured) == len(lesson.measures)
        ):
            return loss, measured
    raise UserError(
        f"lesson {type(lesson).__name__}: its loss does not return what is expected: a tensor of "
        "one number that has a gradient, and a list of as many numbers as its measures name "
        f"({', '.join(lesson.measures) or 'none'}). Correct it."
    )
