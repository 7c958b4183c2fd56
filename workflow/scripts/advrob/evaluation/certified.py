"""Certificates of a sample of the test images, as a file has them."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from advrob.evaluation.samples import Sample
from advrob.evaluation.smoothing import Certificate, certificates
from advrob.evaluation.smoothing_attack import broken_certificates, holding
from advrob.job.compute import Job
from advrob.plan.names import UNDEFENDED


def certificate_arrays(
    network: nn.Module,
    sample: Sample,
    experiment: Mapping[str, Any],
    *,
    job: Job,
    identity: tuple[str, str, str],
    checkpoint: Path,
) -> dict[str, np.ndarray]:
    """Certify images for each sigma, and attack what was certified where that is configured.

    Args:
        network: a model behind a defence.
        sample: the images.
        experiment: the configuration's ``experiments.smoothing``.
        job: seed, device and batch size.
        identity: data set, model and defence.
        checkpoint: a file to resume from, and to keep up to date.

    Returns:
        The arrays of a file of certificates.
    """
    # The noise of a model alone is what it was before defences could be certified.
    names = identity[:2] if identity[-1] == UNDEFENDED else identity
    sigmas, images = experiment["sigmas"], sample.images[:]
    rows = certificates(
        network,
        images,
        sigmas=sigmas,
        draws=experiment["draws"],
        batch_size=job.batch_size,
        device=job.device,
        generator=lambda row, number: job.generator(
            "certify", *names, sigmas[row], sample.ids[number]
        ),
        checkpoint=checkpoint,
        smallest=min(filter(None, experiment["radii"]), default=0.0),
    )
    return {
        "sigmas": np.array(sigmas, np.float64),
        "predicted": np.array([[each.predicted for each in row] for row in rows], np.int64),
        "radius": np.array([[each.radius for each in row] for row in rows], np.float64),
        "counts": np.array([[each.count for each in row] for row in rows], np.int64),
        **_attacked(network, images, sample, rows, experiment, job, names, checkpoint),
        **sample.arrays,
    }


def _attacked(
    network: nn.Module,
    images: np.ndarray,
    sample: Sample,
    rows: Sequence[Sequence[Certificate]],
    experiment: Mapping[str, Any],
    job: Job,
    names: Sequence[str],
    checkpoint: Path,
) -> dict[str, np.ndarray]:
    """What attacks on the smoothed network leave right, and the certificates they contradict."""
    if not experiment["attack"]:
        return {}
    radii = sorted({0.0, *map(float, experiment["radii"])})
    attacked, broken = [], []
    for sigma, row in zip(experiment["sigmas"], rows, strict=True):
        common = {"sigma": sigma, "batch_size": job.batch_size, "device": job.device}
        generator = partial(job.generator, "attack", *names, sigma)
        within_radii, within_certificates = (
            checkpoint.with_suffix(f".{sigma:g}.{part}.checkpoint")
            for part in ("radii", "certificates")
        )
        attacked.append(
            holding(
                network,
                images,
                sample.labels,
                radii=radii,
                generator=generator,
                checkpoint=within_radii,
                **common,
                **experiment["attack"],
            )
        )
        contradicted = broken_certificates(
            network,
            images,
            row,
            generator=generator,
            checkpoint=within_certificates,
            **common,
            **experiment["attack"],
        )
        broken.append(np.isin(np.arange(len(row)), contradicted))
    return {
        "attack_radii": np.array(radii, np.float64),
        "attacked": np.array(attacked),
        "broken": np.array(broken),
    }
