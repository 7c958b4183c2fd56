"""Draw the test and the fit images and decode them into one file each."""

from typing import Any

from advrob.images import extract
from advrob.job import run


def main(
    *,
    test: str,
    fit: str,
    root: str | None,
    settings: dict[str, Any],
    seed: int,
    archive: str | list[str] = "",
) -> str:
    """Make both files of images; see `advrob.images.extract`.

    ``archive`` is the downloaded one that takes the place of a root that is not set, if any is.
    """
    root = root or str(archive or "")
    return extract(test=test, fit=fit, root=root, settings=settings, seed=seed)


if __name__ == "__main__":
    run(main)
