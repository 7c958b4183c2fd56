"""Make images that lead a network to classes drawn at random."""

from pathlib import Path

import numpy as np
import torch

from advrob import networks
from advrob.attacks.gradient import random_targets, targeted
from advrob.evaluation.scoring import predict
from advrob.files import sharding, store
from advrob.files.checkpoints import resumed
from advrob.images.pixels import to_tensor, to_uint8
from advrob.job import compute
from advrob.job.script import run


def main(
    *,
    images: str,
    dataset: str,
    model: str,
    defence: str,
    model_settings: dict,
    defence_settings: dict,
    state: list[str],
    settings: dict,
    batch_size: int,
    device: str,
    seed: int,
    checkpoint: Path,
    scatteritem: str = sharding.WHOLE,
) -> str:
    """Attack ``{model}/{defence}`` with each image, or those of a shard, of the file ``images``."""
    place = compute.device(device)
    network = networks.build(
        model,
        model_settings,
        defence,
        defence_settings,
        state=state,
        device=place,
        mixed=True,
    )
    params = networks.params(model, model_settings, defence, defence_settings) | settings
    with store.read(images, "images/1") as source:
        part = sharding.part(scatteritem, len(source["images"]), batch_size)
        pixels = source["images"]
        labels, classes = source["labels"][:], store.strings(source["classes"])
        ids = store.strings(source["ids"])[part]
        # The same against all networks of the same classes, so that cross-tests compare like.
        draws, known = compute.generator(seed, "targets"), network.model.known
        targets = random_targets(torch.from_numpy(labels), len(classes), draws, known=known)

        def reseed(*identity: str | int) -> None:
            # Drawn anew for each batch, so that resumed jobs and shards draw what a whole one does.
            network.defence.generator = compute.generator(
                seed, "gradient", model, defence, *identity, device=place
            )

        def attack(rows: slice) -> np.ndarray:
            reseed(rows.start)
            batch = to_tensor(pixels[rows], place)
            return to_uint8(targeted(network, batch, targets[rows].to(place), **settings))

        task = f"targeted gradient attack on {model}/{defence}"
        compute.announce(task, len(ids), place, mixed=True)
        shape = (len(ids), *pixels.shape[1:])
        attacked = resumed(attack, shape, part.start, batch_size=batch_size, checkpoint=checkpoint)
    exact = networks.Network(network.defence, network.model, mixed=False)
    predicted, _ = predict(
        [exact],
        attacked,
        batch_size=batch_size,
        device=place,
        reseed=lambda start: reseed("hits", part.start + start),
    )
    reached = predicted[0] == targets[part].numpy()
    arrays = {
        "images": attacked,
        "labels": labels[part],
        "ids": ids,
        "classes": classes,
        "targets": targets[part].numpy(),
        "reached": reached,
    }
    with store.write(dataset, "images/1", seed=seed, params=params, source=images) as file:
        store.put(file, arrays)
        file.attrs["hit_rate"] = reached.mean()
    return f"{model}/{defence}: {reached.mean():.1%} of the images reach their target"


if __name__ == "__main__":
    run(main)
