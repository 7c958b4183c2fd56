"""What all training shares: held-out images, varied images, resuming after an interruption."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from advrob.errors import UserError
from advrob.files.checkpoints import load_checkpoint, save_checkpoint
from advrob.files.rows import ImageRows, Images
from advrob.images.pixels import to_tensor
from advrob.job.progress import progress

# The share of the images that is held out: it measures the error and is not learned from.
HELD_OUT = 0.05
# Varied images are shifted by up to this share of their side.
SHIFT = 1 / 28
# How often training writes its checkpoint, and so the most that it loses when it is killed. With
# the paper's 5,964 hidden units each takes 5 GB.
CHECKPOINT_SECONDS = 300.0
# The largest mean squared error between images in [0, 1]; what training rebuilds with a larger one
# has left that range.
WORST = 1.0
# A loss diverged that is so many times as large as that of the first step, or as 1.
RISE = 1000.0


def check_positive(defence: str, name: str, value: float) -> None:
    """Refuse a parameter, by its name in the configuration, that is not above 0.

    Raises:
        UserError: it is 0 or less.
    """
    if value <= 0:
        raise UserError(
            f"{defence}: {name} is {value}, expected a number above 0. Change it, or remove it to "
            "take the default."
        )


def split(images: Images, generator: torch.Generator, defence: str) -> tuple[ImageRows, ImageRows]:
    """Divide images at random into those to learn from and those to measure the error on.

    Args:
        images: 8-bit images ``(n, H, W, 3)``.
        generator: draws them.
        defence: its kind, for the message.

    Returns:
        The two parts, each in stored order.

    Raises:
        UserError: there are too few images to divide.
    """
    n = len(images)
    if n < 4:
        raise UserError(
            f"{defence}: found {n} images to fit, expected at least 4. Name more images to fit."
        )
    held_out = np.zeros(n, dtype=bool)
    held_out[torch.randperm(n, generator=generator)[: max(1, round(n * HELD_OUT))]] = True

    return ImageRows(images, np.flatnonzero(~held_out)), ImageRows(images, np.flatnonzero(held_out))


def vary(images: np.ndarray, generator: torch.Generator, crop: int | None = None) -> np.ndarray:
    """Mirror half of the images and shift or crop each at random.

    Args:
        images: ``(N, H, W, 3)``.
        generator: draws a mirroring and two shifts for each image.
        crop: cut squares of this side out, in pixels, from images that are larger. Without it,
            images are shifted a little, and pixels at the border are repeated.

    Returns:
        ``(N, H, W, 3)``, or ``(N, crop, crop, 3)``.
    """
    n, *sides, channels = images.shape
    sizes = [side if crop is None else min(crop, side) for side in sides]
    borders, offsets = [], []
    for side, size in zip(sides, sizes, strict=True):
        border = round(side * SHIFT) if size == side else 0
        last = side + 2 * border - size
        offsets.append(torch.randint(0, last + 1, (n,), generator=generator).numpy())
        borders.append((border, border))
    mirrored = torch.randint(2, (n,), generator=generator, dtype=torch.bool).numpy()
    if np.any(borders):
        images = np.pad(images, [(0, 0), *borders, (0, 0)], mode="edge")
    # Views of the squares at all offsets: indexing them copies whole rows, not single numbers.
    squares = np.lib.stride_tricks.sliding_window_view(images, (*sizes, channels), axis=(1, 2, 3))
    varied = squares[np.arange(n), offsets[0], offsets[1], 0]
    varied[mirrored] = varied[mirrored, :, ::-1]
    return varied


class Learner(Protocol):
    """What `Training` trains; its error can be measured, and its state saved."""

    def step(self, clean: Tensor, noisy: Tensor, rate: float) -> float:
        """Learn to make ``clean`` of ``noisy``, both ``(N, 3, H, W)`` in [0, 1].

        Returns:
            The sum of the squared errors before the step.
        """

    def error(self, images: Images) -> float:
        """The mean squared error per pixel and channel, pixels in [0, 1], of 8-bit images."""

    def state(self) -> dict[str, Any]:
        """All that changes while learning: tensors, numbers, and dictionaries of them."""


@dataclass
class Position:
    """How far training has come.

    Attributes:
        curve: the rows of `run_epochs`' result so far.
        order: the order of the images in the current epoch; None between epochs.
        steps: how many of the epoch's steps are done.
        sums: of the steps' measurements.
        first: the measurements of the first step of all.
    """

    curve: list[list[float]] = field(default_factory=list)
    order: Tensor | None = None
    steps: int = 0
    sums: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)

    def means(self) -> list[float]:
        """Of the measurements of the epoch's steps so far."""
        return [total / self.steps for total in self.sums]


@dataclass(frozen=True)
class _Watch:
    """Ends training that diverged; the attributes are those of `run_epochs`."""

    subject: str
    learning_rate: float
    names: Sequence[str]
    steps: int
    position: Position

    def named(self, values: Sequence[float]) -> dict[str, float]:
        """Measurements by their names."""
        return dict(zip(self.names, values, strict=False))

    def means(self) -> None:
        """Refuse an epoch whose steps are, on average, far worse than the first of all."""
        first = self.named(self.position.first)
        risen = {name: RISE * max(1.0, value) for name, value in first.items()}
        self.check(self.named(self.position.means()), risen)

    def check(
        self, values: Mapping[str, float], largest: Mapping[str, float] | None = None
    ) -> None:
        """Refuse values that are not finite, or larger than they may be."""
        for name, value in values.items():
            if math.isfinite(value) and value <= (largest or {}).get(name, math.inf):
                continue
            done = self.position
            advice = " If that changes nothing, check the weights that it begins with."
            raise UserError(
                f"{self.subject}: training diverged: {name} is {value:g} after {len(done.curve)} "
                f"epochs and {done.steps} of {self.steps} steps. Set a lower learning_rate than "
                f"{self.learning_rate:g}.{'' if done.curve or done.steps else advice}"
            )


# What measurements by their names may be at most, for those of the first step and of an epoch.
Limits = Callable[[Mapping[str, float], Mapping[str, float]], Mapping[str, float]]


def run_epochs(
    step: Callable[[np.ndarray, float], Sequence[float]],
    measure: Callable[[], Sequence[float]],
    state: Callable[[], dict[str, Any]],
    *,
    subject: str,
    learning_rate: float,
    names: Sequence[str],
    images: int,
    epochs: int,
    batch_size: int,
    saved: Mapping[str, Any],
    generator: torch.Generator,
    checkpoint: Path,
    worst: Limits = lambda first, epoch: {},
) -> np.ndarray:
    """Go through images in a new random order in each epoch, and save what resuming needs.

    Training that diverged is not saved: a checkpoint holds the last state before.

    Args:
        step: learns from the images of these numbers; its second argument falls from 1 to 0 over
            all steps. Returns what is to be averaged over the epoch.
        measure: called after each epoch, for further measurements.
        state: all that changes while learning: tensors, numbers, and containers of them.
        subject: what is trained, for messages.
        learning_rate: as it is configured, for messages.
        names: of the values that ``step`` and ``measure`` return, for the log.
        images: how many there are.
        epochs: passes over the images.
        batch_size: images to a step.
        saved: what `resume` returned.
        generator: orders the images; its state is saved.
        checkpoint: the file.
        worst: what no epoch's measurements exceed unless training diverged.

    Returns:
        ``(epochs, measurements)``: means over each epoch's steps, then what was measured after it.

    Raises:
        UserError: training diverged: a measurement or the state is not finite, or a measurement
            above ``worst`` or, of the steps, far above that of the first step; see `RISE`.
    """
    position = Position(**saved.get("position", {}))
    size = min(batch_size, images)
    steps = images // size
    watch = _Watch(subject, learning_rate, names, steps, position)
    last_saved = time.monotonic()

    def save() -> None:
        watch.means()
        learned = state()
        # A sum is finite only if all values are, and takes no memory.
        watch.check({"what it learned": sum(float(tensor.sum()) for tensor in _tensors(learned))})
        progress_made = {"position": vars(position), "generator": generator.get_state()}
        save_checkpoint(checkpoint, progress_made | learned)

    for epoch in range(len(position.curve), epochs):
        if position.order is None:
            position.order = torch.randperm(images, generator=generator)
        # Batches of one size: the rest of the random order is left out of this epoch.
        batches = position.order.cpu()[: steps * size].view(steps, size)[position.steps :]
        for indices in progress(batches, f"epoch {epoch + 1} of {epochs}", len(batches)):
            share_done = (epoch * steps + position.steps) / (epochs * steps)
            measurements = step(indices.numpy(), 1 - share_done)
            watch.check(watch.named(measurements))
            position.first = position.first or [*measurements]
            sums = position.sums or [0.0] * len(measurements)
            position.sums = [a + b for a, b in zip(sums, measurements, strict=True)]
            position.steps += 1
            if time.monotonic() - last_saved >= CHECKPOINT_SECONDS:
                save()
                last_saved = time.monotonic()
        watch.means()
        row = [*position.means(), *measure()]
        named = watch.named(row)
        watch.check(named, worst(watch.named(position.first), named))
        position.curve.append(row)
        position.order, position.steps, position.sums = None, 0, []
        print(f"epoch {epoch + 1}: {', '.join(f'{name} {named[name]:.6f}' for name in named)}")
        save()
    return np.array(position.curve)


def _tensors(state: Any) -> Iterator[Tensor]:
    """All tensors in containers of them."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from _tensors(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from _tensors(value)


@dataclass(frozen=True)
class Training:
    """How an autoencoder learns to rebuild images.

    Attributes:
        defence: its kind, for messages.
        epochs: passes over the images.
        batch_size: images to a step.
        learning_rate: at first; it falls to 0 linearly.
        noise: standard deviation, in units of 1/255, of the normal noise in what is encoded but not
            in what is to be decoded.
        crop: side of the squares that are cut out of the images to learn from, in pixels; None
            for whole images.
    """

    defence: str
    epochs: int
    batch_size: int
    learning_rate: float
    noise: float
    crop: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        for name in ("epochs", "batch_size", "learning_rate", "crop"):
            value = getattr(self, name)
            if value is not None:
                check_positive(self.defence, name, value)
        if self.noise < 0:
            raise UserError(
                f"{self.defence}: noise is {self.noise}, expected 0 or more, in units of 1/255. "
                "Change it, or remove it to take the default."
            )

    def run(
        self,
        learner: Learner,
        images: Images,
        held_out: Images,
        saved: Mapping[str, Any],
        *,
        device: torch.device,
        generator: torch.Generator,
        checkpoint: Path,
    ) -> np.ndarray:
        """Train on varied images, saving a checkpoint every few minutes.

        Args:
            learner: changed in place.
            images: 8-bit images ``(n, H, W, 3)`` to learn from.
            held_out: more of them, to measure the error on.
            saved: what `resume` returned.
            device: where the learner is.
            generator: shuffles, varies and disturbs.
            checkpoint: the file.

        Returns:
            ``(epochs, 2)`` mean squared errors per pixel and channel: during the epoch on the
            varied images, and after it on the held-out ones.
        """

        def step(indices: np.ndarray, share: float) -> list[float]:
            clean = noisy = to_tensor(vary(images[indices], generator, self.crop), device)
            if self.noise:
                # Drawn on the device, by a generator seeded here: only the CPU's has to be saved.
                noise_generator = torch.Generator(device).manual_seed(
                    int(torch.randint(2**62, (), generator=generator))
                )
                noise = torch.randn(clean.shape, generator=noise_generator, device=device)
                noisy = clean.add(noise, alpha=self.noise / 255)
            return [learner.step(clean, noisy, self.learning_rate * share) / clean.numel()]

        return run_epochs(
            step,
            lambda: [learner.error(held_out)],
            lambda: {"learner": learner.state()},
            subject=self.defence,
            learning_rate=self.learning_rate,
            names=("error", "held out"),
            images=len(images),
            epochs=self.epochs,
            batch_size=self.batch_size,
            saved=saved,
            generator=generator,
            checkpoint=checkpoint,
            worst=lambda first, epoch: {"held out": WORST},
        )


def resume(checkpoint: Path, generator: torch.Generator, device: torch.device) -> dict[str, Any]:
    """What `run_epochs` saved, with the generator set back to its state then; empty without a file.

    Training that was interrupted therefore ends as if it had not been.
    """
    saved = load_checkpoint(checkpoint, device)
    if saved:
        generator.set_state(saved["generator"].cpu())
        done = len(saved["position"]["curve"])
        print(f"resuming in epoch {done + 1}, {saved['position']['steps']} steps done", flush=True)
    return saved
