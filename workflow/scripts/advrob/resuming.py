"""Work over images in batches that goes on where it was cut."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from advrob.job import progress


def resumed(
    work: Callable[[slice], np.ndarray],
    shape: tuple[int, ...],
    *,
    batch_size: int,
    checkpoint: Path,
) -> np.ndarray:
    """Compute 8-bit images batch by batch, keeping each finished batch in a file.

    The batches are the same however often the work is cut, so the result is, too.

    Args:
        work: gives the images of a slice; it must not depend on earlier calls.
        shape: of the whole result, ``(N, H, W, 3)``.
        batch_size: images in a slice.
        checkpoint: the file, finished images one after another. The caller removes it.

    Returns:
        uint8 of the given shape, mapped from ``checkpoint``.
    """
    row = int(np.prod(shape[1:]))
    checkpoint.touch()
    # A batch that was cut while it was written is done again.
    done = checkpoint.stat().st_size // row
    if done < shape[0]:
        done -= done % batch_size
    with checkpoint.open("r+b") as file:
        file.truncate(done * row)
        file.seek(done * row)
        starts = range(done, shape[0], batch_size)
        if done:
            print(f"going on after {done} of {shape[0]} images", flush=True)
        for start in progress(starts, "batches", len(starts)):
            images = work(slice(start, min(start + batch_size, shape[0])))
            file.write(images.tobytes())
            file.flush()
    # Copy on write: PyTorch warns of arrays that cannot be written.
    return np.memmap(checkpoint, np.uint8, "c", shape=shape)
