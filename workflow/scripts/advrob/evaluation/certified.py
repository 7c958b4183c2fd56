"""Certificates of a sample of the test images, as a file has them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from advrob.evaluation.samples import Sample
from advrob.evaluation.smoothing import certificates
from advrob.job.compute import Job
from advrob.plan.names import UNDEFENDED


def certificate_arrays(
    network: nn.Module,
    sample: Sample,
    settings: Mapping[str, Any],
    *,
    job: Job,
    identity: tuple[str, str, str],
    checkpoint: Path,
) -> dict[str, np.ndarray]:
    """Certify images for each sigma.

    Args:
        network: a model behind a defence.
        sample: the images.
        settings: the configuration's ``experiments.smoothing``.
        job: seed, device and batch size.
        identity: data set, model and defence.
        checkpoint: a file to resume from, and to keep up to date.

    Returns:
        The arrays of a file of certificates.
    """
    # The noise of a model alone is what it was before defences could be certified.
    names = identity[:2] if identity[-1] == UNDEFENDED else identity
    sigmas = settings["sigmas"]
    rows = certificates(
        network,
        sample.images[:],
        sigmas=sigmas,
        draws=settings["draws"],
        batch_size=job.batch_size,
        device=job.device,
        generator=lambda row, number: job.generator(
            "certify", *names, sigmas[row], sample.ids[number]
        ),
        checkpoint=checkpoint,
        smallest=min(filter(None, settings["radii"]), default=0.0),
    )
    return {
        "sigmas": np.array(sigmas, np.float64),
        "predicted": np.array([[each.predicted for each in row] for row in rows], np.int64),
        "radius": np.array([[each.radius for each in row] for row in rows], np.float64),
        "counts": np.array([[each.count for each in row] for row in rows], np.int64),
        **sample.arrays,
    }
