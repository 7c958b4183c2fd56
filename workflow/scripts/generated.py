"""Add a generator's perturbations to the test images, to each a fresh one."""

import torch

from advrob.files import provenance, store
from advrob.job import compute
from advrob.job.script import run
from advrob.training.gan import apply, load_generator

ROWS = 64


def main(*, images: str, generator: str, dataset: str, seed: int) -> str:
    """Write the file ``dataset``: every image of ``images`` plus a sample of ``generator``."""
    with store.read(images, "images/1") as source:
        pixels = source["images"]
        with store.read(generator, "state/1") as file:
            params = provenance.params(file)
            make = load_generator(file, params, pixels.shape[1])
        network = params["model"], params["defence"]
        vectors = torch.randn(
            len(pixels), make.latent, generator=compute.generator(seed, "generated", *network)
        )
        blocks = (
            apply(make, pixels[i : i + ROWS], vectors[i : i + ROWS])
            for i in range(0, len(pixels), ROWS)
        )
        about = {"seed": seed, "params": params, "source": f"{images} + {generator}"}
        store.save_changed(dataset, source, blocks, **about)
        return f"{len(pixels)} images, each with a perturbation made against {'/'.join(network)}"


if __name__ == "__main__":
    run(main)
