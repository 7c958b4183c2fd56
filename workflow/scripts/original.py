"""The test images as they are, under the name of a data set."""

import shutil

from advrob.files.atomic import replacing
from advrob.job.script import run


def main(*, images: str, dataset: str) -> str:
    """Copy the file ``images`` to ``dataset``, atomically."""
    with replacing(dataset) as temporary:
        shutil.copyfile(images, temporary)
    return "copied"


if __name__ == "__main__":
    run(main)
