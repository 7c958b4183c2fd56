"""Make images that lead a network to classes drawn at random."""

from pathlib import Path

import numpy as np
import torch

from advrob import compute, job, models, networks, store
from advrob.attacks.gradient import random_targets, targeted
from advrob.pixels import to_tensor, to_uint8
from advrob.resuming import resumed
from advrob.scoring import predict


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
) -> str:
    """Attack ``{model}/{defence}`` with each image of the file ``images`` into ``dataset``."""
    place = compute.device(device)
    network = networks.build(
        model,
        model_settings,
        defence,
        defence_settings,
        state=state,
        generator=torch.Generator(place),
        device=place,
        mixed=True,
    )
    params = {
        "model": model,
        "defence": defence,
        "model_settings": model_settings,
        "defence_settings": defence_settings,
        **settings,
    }
    with store.read(images, "images/1") as source:
        pixels, labels = source["images"], torch.from_numpy(source["labels"][:])
        # The same targets against every network, so that cross-tests compare like with like.
        targets = random_targets(labels, len(source["classes"]), compute.generator(seed, "targets"))

        def attack(part: slice) -> np.ndarray:
            # Drawn anew for each batch, so that a resumed job draws what a whole one would.
            network.defence.generator = compute.generator(
                seed, "gradient", model, defence, part.start, device=place
            )
            moved = targeted(
                network, to_tensor(pixels[part], place), targets[part].to(place), **settings
            )
            return to_uint8(moved)

        print(f"{len(pixels)} images against {model}/{defence} on {place}")
        attacked = resumed(attack, pixels.shape, batch_size=batch_size, checkpoint=checkpoint)
        # Its own draw, so that it is the same after whatever was resumed.
        network.defence.generator = compute.generator(
            seed, "gradient", model, defence, "hits", device=place
        )
        exact = models.Network(network.defence, network.model, mixed=False)
        predicted, _ = predict([exact], attacked, batch_size=batch_size, device=place)
        hit_rate = float((predicted[0] == targets.numpy()).mean())
        with store.write(dataset, "images/1", seed=seed, params=params, source=images) as file:
            store.put(file, {"images": attacked, "targets": targets.numpy()})
            for name in ("labels", "ids", "classes"):
                source.copy(name, file)
            file.attrs["hit_rate"] = hit_rate
    return f"{model}/{defence}: {hit_rate:.1%} of the images reach their target"


if __name__ == "__main__":
    job.run(main)
