"""Train a preventive model, or its control, from a pretrained network."""

from pathlib import Path

import numpy as np

from advrob import models
from advrob.files import store
from advrob.job import compute
from advrob.job.script import run
from advrob.training.trainer import train


def main(
    *,
    images: str,
    state: str,
    model: str,
    model_settings: dict,
    batch_size: int,
    device: str,
    seed: int,
    checkpoint: Path,
) -> str:
    """Train ``model`` on the file ``images`` and keep what it learned in ``state``."""
    place = compute.device(device)
    options = dict(model_settings["train"])
    limit = options.pop("images", None)
    with store.read(images, "images/1") as source:
        labels = source["labels"][:limit]
        rows = store.Rows(source["images"], np.arange(len(labels)))
        compute.announce(f"train {model} by {options['method']}", len(rows), place, mixed=True)
        arrays = train(
            models.build(model, model_settings, place),
            rows,
            labels,
            predict_batch=batch_size,
            device=place,
            # Models draw alike, so that they differ by their lessons alone.
            generator=compute.generator(seed, "train"),
            checkpoint=checkpoint,
            **options,
        )
        params = {"model": model, "model_settings": model_settings}
        with store.write(state, "state/1", seed=seed, params=params, source=images) as file:
            store.put(file, arrays)
    return f"{model}: {arrays['training_curve'][-1, -1]:.1%} of the held-out images right"


if __name__ == "__main__":
    run(main)
