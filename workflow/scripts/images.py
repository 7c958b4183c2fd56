"""Draw the test and the fit images and decode them into one file each."""

from typing import Any

from advrob.images import extract
from advrob.job import run


def main(*, test: str, fit: str, root: str | None, settings: dict[str, Any], seed: int) -> str:
    """Make both files of images; see `advrob.images.extract`."""
    return extract(test=test, fit=fit, root=root, settings=settings, seed=seed)


if __name__ == "__main__":
    run(main)
