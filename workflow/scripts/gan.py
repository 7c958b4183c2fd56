"""Train a generator of perturbations against a network."""

from pathlib import Path

import numpy as np

from advrob import networks
from advrob.evaluation.scoring import predict
from advrob.files import store
from advrob.job import compute
from advrob.job.script import run
from advrob.training.gan import train_generator


def main(
    *,
    images: str,
    generator: str,
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
    """Find what draws perturbations that fool ``{model}/{defence}`` on the file ``images``."""
    place = compute.device(device)
    # The defence draws from it, too, so that training which was cut goes on where it was.
    draws = compute.generator(seed, "gan", model, defence)
    network = networks.build(
        model,
        model_settings,
        defence,
        defence_settings,
        state=state,
        generator=draws,
        device=place,
        mixed=True,
    )
    params = networks.params(model, model_settings, defence, defence_settings) | settings
    options = {key: value for key, value in settings.items() if key != "images"}
    with store.read(images, "images/1") as source:
        pixels = source["images"]
        rows = store.Rows(pixels, np.arange(len(pixels))[: settings["images"]])
        task = f"train a generator against {model}/{defence}"
        compute.announce(task, len(rows), place, mixed=True)
        predicted, _ = predict([network], rows, batch_size=batch_size, device=place)
        arrays = train_generator(
            network,
            rows,
            predicted[0],
            device=place,
            generator=draws,
            checkpoint=checkpoint,
            **options,
        )
        with store.write(generator, "state/1", seed=seed, params=params, source=images) as file:
            store.put(file, arrays)
    loss = arrays["training_curve"][-1, -1]
    return f"{model}/{defence}: cross-entropy of its own predictions {loss:.2f} under perturbations"


if __name__ == "__main__":
    run(main)
