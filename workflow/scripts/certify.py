"""Certify a model's predictions under Gaussian noise."""

from pathlib import Path

import numpy as np

from advrob import networks
from advrob.evaluation.adaptive import sample
from advrob.evaluation.smoothing import certificates
from advrob.files import store
from advrob.job import compute
from advrob.job.script import run


def main(
    *,
    images: str,
    certified: str,
    dataset: str,
    model: str,
    model_settings: dict,
    trained: list[str],
    sigmas: list[float],
    draws: int,
    limit: int,
    pattern: str | None,
    batch_size: int,
    device: str,
    seed: int,
    checkpoint: Path,
) -> str:
    """Certify ``limit`` images of the file ``images`` for each sigma, in units of 1/255."""
    place = compute.device(device)
    with store.read(images, "images/1") as source:
        ids = store.strings(source["ids"])
        chosen = sample(ids, limit, pattern, seed)
        pixels = store.Rows(source["images"], chosen)[:]
        labels = source["labels"][:][chosen]
    task = f"certify {model} on {dataset}, {len(sigmas)} strengths of noise, {draws} draws"
    compute.announce(task, len(chosen), place)
    found = certificates(
        networks.build_model(model, model_settings, state=trained, device=place),
        pixels,
        sigmas=sigmas,
        draws=draws,
        batch_size=batch_size,
        device=place,
        generator=lambda row, number: compute.generator(
            seed, "certify", dataset, model, sigmas[row], ids[chosen[number]], device=place
        ),
        checkpoint=checkpoint,
    )
    arrays = {
        "sigmas": np.array(sigmas, np.float64),
        "predicted": np.array([[each.predicted for each in row] for row in found], np.int64),
        "radius": np.array([[each.radius for each in row] for row in found], np.float64),
        "counts": np.array([[each.count for each in row] for row in found], np.int64),
        "labels": labels,
        "ids": np.array(ids, dtype=object)[chosen],
    }
    params = {"dataset": dataset, "model": model, "model_settings": model_settings, "draws": draws}
    with store.write(certified, "certified/1", seed=seed, params=params, source=images) as file:
        store.put(file, arrays)
    shares = (arrays["predicted"] == labels).mean(axis=1)
    rights = (f"{share:.1%} at {sigma:g}" for share, sigma in zip(shares, sigmas, strict=True))
    return f"{dataset} through {model}: certified and right {', '.join(rights)}"


if __name__ == "__main__":
    run(main)
