"""Certify a network's predictions under Gaussian noise."""

from pathlib import Path

import numpy as np

from advrob import networks
from advrob.evaluation.samples import read_sample
from advrob.evaluation.smoothing import certificates
from advrob.files import store
from advrob.job.compute import Job
from advrob.job.script import run
from advrob.plan.plan import NetworkDescription


def main(
    *,
    images: str,
    certified: str,
    dataset: str,
    network: NetworkDescription,
    sigmas: list[float],
    draws: int,
    sample: dict,
    job: Job,
    checkpoint: Path,
) -> str:
    """Certify a ``sample`` of the file ``images`` for each sigma, in units of 1/255."""
    model = network["model"]
    with store.read(images, "images/1") as source:
        chosen = read_sample(source, job.seed, **sample)
        pixels = chosen.images[:]
    job.announce(f"certify {model} on {dataset}, {draws} draws of {len(sigmas)}", len(chosen))
    found = certificates(
        networks.build_model(network, device=job.device),
        pixels,
        sigmas=sigmas,
        draws=draws,
        batch_size=job.batch_size,
        device=job.device,
        generator=lambda row, number: job.generator(
            "certify", dataset, model, sigmas[row], chosen.ids[number]
        ),
        checkpoint=checkpoint,
    )
    arrays = {
        "sigmas": np.array(sigmas, np.float64),
        "predicted": np.array([[each.predicted for each in row] for row in found], np.int64),
        "radius": np.array([[each.radius for each in row] for row in found], np.float64),
        "counts": np.array([[each.count for each in row] for row in found], np.int64),
        **chosen.arrays,
    }
    params = {key: network[key] for key in ("model", "model_settings")}
    params |= {"dataset": dataset, "draws": draws}
    store.save(certified, "certified/1", arrays, seed=job.seed, params=params, source=images)
    right = (arrays["predicted"] == chosen.labels).mean()
    return f"{dataset} through {model}: certified and right {right:.1%}"


if __name__ == "__main__":
    run(main)
