"""Images to choose a defence's settings on: none of them is tested."""

import numpy as np
import torch

from advrob.errors import UserError
from advrob.files import store
from advrob.files.rows import ImageRows
from advrob.job import compute
from advrob.job.script import run


def main(*, images: str, dataset: str, limit: int, seed: int) -> str:
    """Draw up to ``limit`` labelled images from those to fit, the file ``images``."""
    with store.read(images, "images/1") as source:
        labelled = np.flatnonzero(source["labels"][:] >= 0)
        if not len(labelled):
            raise UserError(
                f"experiments.settings: none of the {len(source['labels'])} images to fit has a "
                "label, so no setting can be chosen on them. Name labelled images in images.fit, "
                "or set experiments.settings to null."
            )
        order = torch.randperm(len(labelled), generator=compute.generator(seed, "tuning"))
        rows = np.sort(labelled[order[:limit].numpy()])
        arrays = {
            "images": ImageRows(source["images"], rows)[:],
            "labels": source["labels"][:][rows],
            "ids": np.array(store.strings(source["ids"]), dtype=object)[rows],
            "classes": np.array(store.strings(source["classes"]), dtype=object),
        }
    params = {"limit": limit}
    store.save(dataset, "images/1", arrays, seed=seed, params=params, source=images)
    return f"{len(rows)} of {len(labelled)} labelled images"


if __name__ == "__main__":
    run(main)
