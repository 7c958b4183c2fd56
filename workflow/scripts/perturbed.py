"""Add a universal perturbation to the test images."""

from advrob.files import provenance, store
from advrob.images.perturbation import apply
from advrob.job.script import run


def main(*, images: str, perturbation: str, dataset: str, seed: int) -> str:
    """Write the file ``dataset``: every image of ``images`` plus ``perturbation``, in 8 bits."""
    with store.read(perturbation, "perturbation/1") as file:
        values = file["perturbation"][:]
        params = provenance.params(file)
    with store.read(images, "images/1") as source:
        pixels = source["images"]
        blocks = (apply(pixels[i : i + 256], values) for i in range(0, len(pixels), 256))
        about = {"seed": seed, "params": params, "source": f"{images} + {perturbation}"}
        store.save_changed(dataset, source, blocks, **about)
        return f"{len(pixels)} images perturbed"


if __name__ == "__main__":
    run(main)
