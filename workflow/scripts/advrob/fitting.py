"""What the autoencoders' training shares: held-out images, varied images, going on after a cut."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from advrob import store
from advrob.defences import Images
from advrob.errors import UserError

# The share of the images that measures the error and is not learned from.
HELD_OUT = 0.05
# Varied images are shifted by up to this share of their side.
SHIFT = 1 / 28
# Images read from a file at a time.
BLOCK = 512


def check(defence: str, positive: Mapping[str, float], not_negative: Mapping[str, float]) -> None:
    """Refuse parameters, by their names in the configuration, that are out of range.

    Raises:
        UserError: one of the first is 0 or less, or one of the second less than 0.
    """
    for expected, parameters, allowed in (
        ("a number above 0", positive, lambda value: value > 0),
        ("0 or more", not_negative, lambda value: value >= 0),
    ):
        for name, value in parameters.items():
            if not allowed(value):
                raise UserError(
                    f"{defence}: {name} is {value}, expected {expected}. Change it, or remove it "
                    "to take the default."
                )


def split(
    images: Images, generator: torch.Generator, defence: str
) -> tuple[np.ndarray, np.ndarray]:
    """Divide images at random into those to learn from and those to measure the error on.

    Args:
        images: 8-bit images ``(n, H, W, 3)``.
        generator: chooses.
        defence: its kind, for the message.

    Returns:
        The two parts, each in stored order, in memory.

    Raises:
        UserError: there are too few images to divide.
    """
    n = len(images)
    if n < 4:
        raise UserError(
            f"{defence}: found {n} images to fit, expected 4 at least. Name more images to fit."
        )
    held_out = np.zeros(n, dtype=bool)
    held_out[torch.randperm(n, generator=generator)[: max(1, round(n * HELD_OUT))]] = True

    def part(chosen: np.ndarray) -> np.ndarray:
        blocks = [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]
        return np.concatenate([images[block][chosen[block]] for block in blocks])

    return part(~held_out), part(held_out)


def batches(count: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """Which images go into each step of one epoch: ``(steps, batch)``, every step of equal size.

    What is left of a random order after the last whole batch waits for another epoch.
    """
    batch_size = min(batch_size, count)
    order = torch.randperm(count, generator=generator)
    return order[: count - count % batch_size].view(-1, batch_size)


def vary(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images and shift each a little; pixels at the border are repeated.

    Args:
        images: ``(N, H, W, 3)``, of any type.
        generator: draws a mirroring and two shifts for each image, on the CPU.
    """
    n, height, width, _ = images.shape
    reach = round(width * SHIFT)
    shifts = torch.randint(-reach, reach + 1, (2, n, 1), generator=generator)
    mirrored = torch.randint(2, (n, 1), generator=generator, dtype=torch.bool)
    rows = (torch.arange(height) + shifts[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + shifts[1]).clamp(0, width - 1)
    columns = torch.where(mirrored, width - 1 - columns, columns)
    device = images.device
    return images[
        torch.arange(n, device=device)[:, None, None],
        rows[:, :, None].to(device),
        columns[:, None, :].to(device),
    ]


def crop(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Cut a square of ``size`` pixels out of each image, at random; smaller images stay whole.

    Args:
        images: ``(N, H, W, 3)``, of any type.
        size: side of the squares in pixels.
        generator: draws two offsets for each image, on the CPU.
    """
    n, height, width, _ = images.shape
    side = min(size, height, width)
    tops = torch.randint(height - side + 1, (n, 1, 1), generator=generator)
    lefts = torch.randint(width - side + 1, (n, 1, 1), generator=generator)
    rows = tops + torch.arange(side)[:, None]
    columns = lefts + torch.arange(side)
    return images[torch.arange(n)[:, None, None], rows, columns]


def epochs(
    training: dict[str, Any], total: int, generator: torch.Generator, checkpoint: Path
) -> Iterator[int]:
    """Yield the numbers of the epochs that remain, keeping ``training`` in a file after each.

    With the generator's state in the file as well, training that was cut ends as if it had not
    been.

    Args:
        training: tensors, numbers, lists and dictionaries, changed in place by every epoch.
        total: number of epochs.
        generator: what the epochs draw from.
        checkpoint: the file; `resumed` reads it.
    """
    for epoch in range(training.get("epoch", 0), total):
        yield epoch
        training["epoch"] = epoch + 1
        training["generator"] = generator.get_state()
        with store.replacing(checkpoint) as temporary:
            torch.save(training, temporary)


def resumed(
    checkpoint: Path, generator: torch.Generator, device: torch.device
) -> dict[str, Any] | None:
    """The training that `epochs` kept, and the generator put where it was; None without a file."""
    if not checkpoint.exists():
        return None
    training: dict[str, Any] = torch.load(checkpoint, map_location=device, weights_only=True)
    generator.set_state(training["generator"].cpu())
    print(f"going on after {training['epoch']} epochs", flush=True)
    return training
