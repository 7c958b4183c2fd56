"""Draw the test and the fit images and decode them into one file each."""

from typing import Any

from advrob.files import sharding
from advrob.images.archives import verify
from advrob.images.subset import extract
from advrob.job.script import run


def main(
    *,
    test: str,
    fit: str,
    root: str,
    image_options: dict[str, Any],
    seed: int,
    archive: str | list[str] = "",
    sha256: str | None = None,
    scatteritem: str = sharding.WHOLE,
) -> str:
    """Make both files of images, or a shard of each; see `advrob.images.subset.extract`.

    ``archive`` is the downloaded one that takes the place of a root that is not set, if any is, and
    ``sha256`` its checksum: it may have been placed by hand.
    """
    if archive and not root:
        root = str(archive)
        if sha256:
            verify(root, sha256)
    return extract(
        test=test, fit=fit, root=root, image_options=image_options, seed=seed, shard=scatteritem
    )


if __name__ == "__main__":
    run(main)
