"""Write a universal perturbation for others, with a card that says what it is."""

from advrob.findings.card import export
from advrob.job.script import run


def main(*, perturbation: str, images: str, held_out: str, folder: str) -> str:
    """Write a perturbation, which was made from ``images``, and its card into a folder."""
    return export(folder, perturbation, images, held_out)


if __name__ == "__main__":
    run(main)
