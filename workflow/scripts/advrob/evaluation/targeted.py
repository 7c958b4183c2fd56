"""The paper's gradient attack on a whole data set: its targets, and which images reach them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from advrob.attacks.gradient import random_targets, targeted
from advrob.files import store
from advrob.files.checkpoints import resumed
from advrob.images.pixels import to_tensor, to_uint8
from advrob.job import compute
from advrob.job.compute import Job
from advrob.models.prediction import predict
from advrob.networks import Network


def targeted_images(
    network: Network,
    source: h5py.File,
    part: slice,
    options: Mapping[str, Any],
    *,
    job: Job,
    identity: tuple[str, str],
    checkpoint: Path,
) -> dict[str, np.ndarray]:
    """Lead images to classes drawn at random.

    Args:
        network: a model behind a defence, in mixed precision; what reaches its target is decided in
            float32.
        source: an open file of images.
        part: the N of them that are attacked, beginning with a batch.
        options: of `advrob.attacks.gradient.targeted`.
        job: seed, device and batch size.
        identity: of the random numbers: model and defence.
        checkpoint: a file to resume from, and to keep up to date.

    Returns:
        The arrays of an images file, with ``targets`` and ``reached``.
    """
    pixels, labels = source["images"], source["labels"][:]
    classes, ids = store.strings(source["classes"]), store.strings(source["ids"])[part]
    # The same against all networks of the same classes, so that cross-tests compare like.
    draws, answered = (
        compute.generator(job.seed, "targets"),
        getattr(network.model, "class_subset", None),
    )
    targets = random_targets(torch.from_numpy(labels), len(classes), draws, among=answered)

    def reseed(*numbers: str | int) -> None:
        # Drawn anew for each batch, so that resumed jobs and shards draw what a whole one does.
        network.defence.generator = job.generator("gradient", *identity, *numbers)

    def attack(rows: slice) -> np.ndarray:
        reseed(rows.start)
        batch = to_tensor(pixels[rows], job.device)
        return to_uint8(targeted(network, batch, targets[rows].to(job.device), **options))

    shape = (len(ids), *pixels.shape[1:])
    size = job.batch_size
    attacked = resumed(attack, shape, part.start, batch_size=size, checkpoint=checkpoint)
    predicted, _ = predict(
        [Network(network.defence, network.model, mixed=False)],
        attacked,
        batch_size=size,
        device=job.device,
        reseed=lambda start: reseed("hits", part.start + start),
    )
    return {
        "images": attacked,
        "labels": labels[part],
        "ids": np.array(ids, dtype=object),
        "classes": np.array(classes, dtype=object),
        "targets": targets[part].numpy(),
        "reached": predicted[0] == targets[part].numpy(),
    }
