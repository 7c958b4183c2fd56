"""Work that resumes after an interruption, at the cost of what it did since its last checkpoint.

A checkpoint is a file that `advrob.job.locks.checkpoint` names, gives to one job at a time, and
removes.
"""

import hashlib
import mmap
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch

from advrob.files.atomic import replacing
from advrob.job.disk import explain_write_errors, require_space
from advrob.job.progress import progress


def save_checkpoint(checkpoint: Path, content: Mapping[str, Any]) -> None:
    """Replace a checkpoint by tensors, numbers, text, and containers of them."""
    # Through a Python file: PyTorch's own does not say why it cannot write.
    with replacing(checkpoint) as temporary, temporary.open("w+b") as file:
        torch.save(dict(content), file)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").digest()
        file.seek(0, os.SEEK_END)
        file.write(digest)


def load_checkpoint(checkpoint: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `save_checkpoint` put into a checkpoint; empty where there is none, or a damaged one."""
    if not checkpoint.exists():
        return {}
    size = checkpoint.stat().st_size - hashlib.sha256().digest_size
    if size > 0:
        with (
            checkpoint.open("rb") as file,
            mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as content,
        ):
            file.seek(size)
            # PyTorch would take damaged numbers for good ones.
            if hashlib.sha256(content).digest() == file.read():
                stored = cast(IO[bytes], content)
                return dict(torch.load(stored, map_location=device, weights_only=True))
    print(f"{checkpoint}: is damaged. Beginning anew.", flush=True)
    return {}


def resumed(
    work: Callable[[slice], np.ndarray],
    shape: tuple[int, ...],
    first: int = 0,
    *,
    batch_size: int,
    checkpoint: Path,
) -> np.ndarray:
    """Compute 8-bit images batch by batch, keeping each finished batch in a file.

    The batches are the same however often the work is cut, so the result is, too.

    Args:
        work: gives the images of a slice; it must not depend on earlier calls.
        shape: of the whole result, ``(N, H, W, 3)``.
        first: number of the first image.
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
    # The result is written beside the checkpoint.
    needed = (2 * shape[0] - done) * row
    with (
        explain_write_errors(checkpoint),
        require_space(checkpoint.parent, needed, "The rest of it, with the result,"),
        checkpoint.open("r+b") as file,
    ):
        file.truncate(done * row)
        file.seek(done * row)
        starts = range(done, shape[0], batch_size)
        if done:
            print(f"resuming after {done} of {shape[0]} images", flush=True)
        for start in progress(starts, "batches", len(starts)):
            end = min(start + batch_size, shape[0])
            file.write(work(slice(first + start, first + end)).tobytes())
            file.flush()
            os.fsync(file.fileno())
    # Copy on write: PyTorch warns of arrays that cannot be written.
    return np.memmap(checkpoint, np.uint8, "c", shape=shape)
