"""Write a data set for other programs, with a network's predictions."""

from advrob.images.export import export
from advrob.job.script import run


def main(*, images: str, scores: str, dataset: str, folder: str) -> str:
    """Write the file ``images`` into a folder, as pictures and as tensors."""
    count = export(folder, dataset, images, scores)
    return f"{dataset}: {count:,} images in {folder}"


if __name__ == "__main__":
    run(main)
