"""Random changes as large as those of attacks: what an attack must beat to be worth its name."""

from collections.abc import Sequence

import numpy as np

from advrob.attacks.control import CONTROLS, controlled
from advrob.evaluation.adaptive import distances
from advrob.evaluation.samples import Sample, rows_of
from advrob.files import store
from advrob.files.rows import ImageRows
from advrob.job import compute
from advrob.job.compute import Job
from advrob.models.prediction import predict
from advrob.networks import Network


def control_scores(
    network: Network,
    sample: Sample,
    attacked: Sequence[tuple[str, str, str]],
    *,
    job: Job,
    identity: Sequence[str],
) -> dict[str, np.ndarray]:
    """Measure the changes of attacks and score a network on others of the same size.

    The others are the same changes with signs drawn at random, and with their pixels shuffled.

    Args:
        network: a model behind a defence.
        sample: the originals.
        attacked: name, file and norm of each attacked data set.
        job: seed, device and batch size.
        identity: of the defence's random numbers, beside data set and control.

    Returns:
        The arrays of a file of controls.
    """
    originals = sample.images[:]
    correct, farthest = [], []
    for name, path, norm in attacked:
        with store.read(path, "images/1") as source:
            rows = rows_of(store.strings(source["ids"]), sample.ids)
            moved = ImageRows(source["images"], rows)[:]
        farthest.append(distances(originals, moved, norm).max())
        for control_name, control in CONTROLS.items():
            draw = np.random.default_rng(compute.number(job.seed, "controls", name, control_name))
            changed = controlled(originals, moved, control, draw)
            network.defence.generator = job.generator("controls", name, control_name, *identity)
            predicted, _ = predict([network], changed, batch_size=job.batch_size, device=job.device)
            correct.append(predicted[0] == sample.labels)
    return {
        "datasets": np.array([name for name, *_ in attacked], dtype=object),
        "controls": np.array(list(CONTROLS), dtype=object),
        "correct": np.stack(correct).reshape(len(attacked), len(CONTROLS), -1),
        "farthest": np.array(farthest),
        "ids": sample.arrays["ids"],
    }
