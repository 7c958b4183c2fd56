"""Make images that a network gets wrong, by an attack that knows its defence."""

from pathlib import Path

import numpy as np
import torch

from advrob import networks
from advrob.evaluation import adaptive
from advrob.files import store
from advrob.files.checkpoints import resumed
from advrob.images.pixels import to_tensor, to_uint8
from advrob.job import compute
from advrob.job.script import run
from advrob.plan.configuration import kind_of, parameters_of


def main(
    *,
    images: str,
    dataset: str,
    attack: str,
    model: str,
    defence: str,
    model_settings: dict,
    defence_settings: dict,
    state: list[str],
    settings: dict,
    limit: int,
    pattern: str | None,
    draws: int,
    batch_size: int,
    device: str,
    seed: int,
    checkpoint: Path,
) -> str:
    """Attack ``{model}/{defence}`` with up to ``limit`` of the images of the file ``images``."""
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
    attacker = adaptive.Attacker(network, kind_of(attack, settings), parameters_of(settings), draws)
    with store.read(images, "images/1") as source:
        ids = store.strings(source["ids"])
        chosen = adaptive.sample(ids, limit, pattern, seed)
        originals = store.Rows(source["images"], chosen)
        labels = torch.from_numpy(source["labels"][:][chosen])
        compute.announce(f"{attack} against {model}/{defence}", len(chosen), place, mixed=True)

        def work(rows: slice) -> np.ndarray:
            draw = compute.generator(seed, attack, model, defence, rows.start, device=place)
            network.defence.generator = draw
            batch = to_tensor(originals[rows], place)
            return to_uint8(attacker(batch, labels[rows].to(place), draw))

        size = max(1, batch_size // attacker.draws)
        attacked = resumed(work, originals.shape, batch_size=size, checkpoint=checkpoint)
        arrays = {
            "images": attacked,
            "labels": labels.numpy(),
            "ids": np.array(ids, dtype=object)[chosen],
            "classes": store.strings(source["classes"]),
            "distances": adaptive.distances(originals, attacked, settings.get("norm", "linf")),
        }
        params = networks.params(model, model_settings, defence, defence_settings)
        params["attack"] = settings
        with store.write(dataset, "images/1", seed=seed, params=params, source=images) as file:
            store.put(file, arrays)
    farthest = arrays["distances"].max()
    return f"{attack} against {model}/{defence}: at most {farthest:g}/255 from the originals"


if __name__ == "__main__":
    run(main)
