"""Train a preventive model, or its control, from a pretrained network."""

from pathlib import Path

import numpy as np

from advrob import models
from advrob.files import store
from advrob.files.rows import ImageRows
from advrob.job import compute
from advrob.job.compute import Job
from advrob.job.script import run
from advrob.plan.contents import by_content
from advrob.training.trainer import train


def main(
    *, images: str, state: str, model: str, model_settings: dict, job: Job, checkpoint: Path
) -> str:
    """Train ``model`` on the file ``images`` and keep what it learned in ``state``."""
    options = dict(model_settings["train"])
    limit = options.pop("images", None)
    # Models draw alike, so that they differ by their lessons alone.
    options |= {"generator": compute.generator(job.seed, "train"), "checkpoint": checkpoint}
    options |= {"predict_batch": job.batch_size, "device": job.device}
    network = models.build(model, model_settings, job.device)
    with store.read(images, "images/1") as source:
        labels = source["labels"][:limit]
        rows = ImageRows(source["images"], np.arange(len(labels)))
        job.log_start(f"train {model} by {options['method']}", len(rows), mixed=True)
        arrays = train(network, rows, labels, **options)
    params = {"model": model, "model_settings": by_content(model_settings)}
    store.save(state, "state/1", arrays, seed=job.seed, params=params, source=images)
    return f"{model}: {arrays['training_curve'][-1, -1]:.1%} of the held-out images right"


if __name__ == "__main__":
    run(main)
