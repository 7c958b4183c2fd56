"""Scores: what networks get right."""

from collections.abc import Sequence

import h5py
import numpy as np

from advrob.files import store
from advrob.job.compute import Job
from advrob.models.prediction import predict
from advrob.networks import Network


def score_arrays(
    network: Network,
    source: h5py.File,
    part: slice,
    draws: int,
    job: Job,
    identity: Sequence[str],
) -> dict[str, np.ndarray]:
    """Score a network: the arrays of a score file.

    Args:
        network: a model behind a defence.
        source: an open file of images.
        part: the N of them that are scored, beginning with a batch.
        draws: how often a stochastic defence is scored.
        job: seed, device and batch size.
        identity: of the random numbers, beside a batch's first image; its end names the network.
    """

    def reseed(start: int) -> None:
        network.defence.generator = job.generator(*identity, start)

    predicted, confidence = predict(
        [network] * (draws if network.defence.stochastic else 1),
        source["images"],
        batch_size=job.batch_size,
        device=job.device,
        part=part,
        reseed=reseed,
        name="/".join(identity[-2:]),
    )
    correct = predicted == source["labels"][part]
    # The first draw is the prediction; the others show how much chance there is in it.
    return {
        "predicted": predicted[0],
        "correct": correct[0],
        "confidence": confidence[0],
        "draws": correct,
        "ids": np.array(store.strings(source["ids"])[part], dtype=object),
    }
