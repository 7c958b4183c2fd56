"""Draw the test and the fit images and decode them into one file each."""

from typing import Any

from advrob.files import sharding
from advrob.images import extract
from advrob.job.script import run


def main(
    *,
    test: str,
    fit: str,
    root: str | None,
    settings: dict[str, Any],
    seed: int,
    archive: str | list[str] = "",
    scatteritem: str = sharding.WHOLE,
) -> str:
    """Make both files of images, or a shard of each; see `advrob.images.extract`.

    ``archive`` is the downloaded one that takes the place of a root that is not set, if any is.
    """
    root = root or str(archive or "")
    return extract(test=test, fit=fit, root=root, settings=settings, seed=seed, shard=scatteritem)


if __name__ == "__main__":
    run(main)
