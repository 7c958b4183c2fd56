"""Score a model behind uniform noise of several magnitudes on one data set."""

import numpy as np
import torch

from advrob import defences, networks
from advrob.evaluation.scoring import predict
from advrob.files import sharding, store
from advrob.job import compute
from advrob.job.script import run


def main(
    *,
    images: str,
    sweep: str,
    dataset: str,
    model: str,
    model_settings: dict,
    trained: list[str],
    magnitudes: list[float],
    batch_size: int,
    device: str,
    seed: int,
    scatteritem: str = sharding.WHOLE,
) -> str:
    """Predict ``images``, or a shard, behind noise within each magnitude, in units of 1/255."""
    place = compute.device(device)
    classifier = networks.build_model(model, model_settings, state=trained, device=place)
    noisy = []
    for magnitude in magnitudes:
        bounds = {"minimum": -magnitude, "maximum": magnitude}
        noise = defences.build("noise", bounds, generator=torch.Generator(place), device=place)
        noisy.append(networks.Network(noise, classifier, mixed=False))

    def reseed(start: int) -> None:
        for network, magnitude in zip(noisy, magnitudes, strict=True):
            network.defence.generator = compute.generator(
                seed, "sweep", dataset, model, magnitude, start, device=place
            )

    with store.read(images, "images/1") as source:
        part = sharding.part(scatteritem, len(source["images"]), batch_size)
        ids = store.strings(source["ids"])[part]
        task = f"score {model} on {dataset} behind {len(magnitudes)} magnitudes of noise"
        compute.announce(task, len(ids), place)
        predicted, confidence = predict(
            noisy,
            source["images"],
            batch_size=batch_size,
            device=place,
            part=part,
            reseed=reseed,
        )
        correct = predicted == source["labels"][part]
    arrays = {
        "magnitudes": np.asarray(magnitudes, np.float64),
        "predicted": predicted,
        "correct": correct,
        "confidence": confidence,
        "ids": ids,
    }
    params = {"dataset": dataset, "model": model, "model_settings": model_settings}
    with store.write(sweep, "sweep/1", seed=seed, params=params, source=images) as file:
        store.put(file, arrays)
    return f"{dataset} through {model}: {len(magnitudes)} magnitudes of noise scored"


if __name__ == "__main__":
    run(main)
