"""One perturbation that fools a network on most images: the search that all methods share."""

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from advrob.attacks.bounds import within
from advrob.files.checkpoints import load_checkpoint, save_checkpoint
from advrob.files.rows import Images
from advrob.images.perturbation import apply
from advrob.images.pixels import to_tensor
from advrob.job.progress import progress

# How often a search writes its checkpoint, and so the most that a killed one loses.
CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Universal:
    """A universal perturbation and how often it fools the network that it was made against.

    A fooling rate is the fraction of images whose prediction changes; they are measured on 8-bit
    images, clipped and rounded.

    Attributes:
        perturbation: float32 ``(H, W, 3)`` in units of 1/255, the best over all passes.
        history: ``fooling_rate`` and ``fooling_rate_held_out``, float64, one value a pass.
        fooling_rate: of ``perturbation`` on the images that it was made from.
        fooling_rate_held_out: of ``perturbation`` on images that it was not made from.
    """

    perturbation: np.ndarray
    history: dict[str, np.ndarray]
    fooling_rate: float
    fooling_rate_held_out: float


@dataclass
class Search:
    """The state of a search, and all that is needed to resume it.

    Attributes:
        perturbation: float32 ``(3, H, W)`` in units of 1/255, on the network's device.
        best: the one of the finished passes that fools most of the search's own images.
        predicted: the network's predictions for the images as they are, int64 ``(N,)``.
        predicted_held_out: the same for the held-out images.
        order: the images' order in the current pass, int64 ``(N,)``.
        position: how many of them the current pass has seen.
        updates: how often the perturbation was updated in all passes together.
        history: see `Universal`.
        memory: the state of an update rule from batch to batch.
    """

    perturbation: Tensor
    best: Tensor
    predicted: Tensor
    predicted_held_out: Tensor
    order: Tensor
    position: int = 0
    updates: int = 0
    history: dict[str, list[float]] = field(
        default_factory=lambda: {"fooling_rate": [], "fooling_rate_held_out": []}
    )
    memory: dict[str, Tensor] = field(default_factory=dict)


def fooling_rate(
    network: nn.Module,
    images: Images,
    perturbation: np.ndarray,
    predicted: np.ndarray,
    *,
    batch_size: int,
    device: torch.device,
) -> float:
    """The fraction of images whose prediction a perturbation changes.

    Args:
        network: images in [0, 1] to logits.
        images: 8-bit images ``(N, H, W, 3)``, read in slices of ``batch_size``.
        perturbation: float32 ``(H, W, 3)`` in units of 1/255.
        predicted: the network's predictions for ``images`` as they are, int64 ``(N,)``.
        batch_size: images at a time.
        device: where ``network`` is.
    """
    perturbed = _predict(network, images, perturbation, batch_size=batch_size, device=device)
    return float((perturbed != predicted).mean())


@dataclass(frozen=True)
class Batch:
    """What a method improves a perturbation on.

    Attributes:
        network: images in [0, 1] to logits.
        images: ``(B, 3, H, W)`` in [0, 1].
        predicted: what the network predicts for the images as they are, int64 ``(B,)``.
        norm: ``linf`` or ``l2``, which is bounded.
        updates: how many there are in all passes together.
    """

    network: nn.Module
    images: Tensor
    predicted: Tensor
    norm: str
    updates: int


class UniversalMethod:
    """How a search improves its perturbation from batch to batch.

    A method is one file of this folder and one entry in the configuration; see
    `advrob.plan.kinds`. Its hyperparameters are attributes, which identify a checkpoint.

    Attributes:
        mixed: whether it tolerates a network that multiplies in bfloat16.
        largest_batch: the most images at a time, where more would make it weaker.
        effort: the keys whose product is the gradients per image; one gradient without any.
    """

    mixed: bool = True
    largest_batch: int | None = None
    effort: str | Sequence[str] = ()

    def update(self, state: Search, batch: Batch) -> Tensor:
        """The next perturbation, not yet projected onto the ball.

        Args:
            state: of the search.
            batch: images to fool.

        Returns:
            float32 ``(3, H, W)`` in units of 1/255.
        """
        raise NotImplementedError


def search(
    method: UniversalMethod,
    network: nn.Module,
    images: Images,
    held_out: Images,
    *,
    device: torch.device,
    generator: torch.Generator,
    norm: str,
    radius: float,
    fooling_rate: float = 0.8,
    passes: int = 10,
    batch_size: int = 32,
    checkpoint: Path | None = None,
    noise: torch.Generator | None = None,
) -> Universal:
    """Improve a perturbation batch by batch until it fools enough images.

    Each pass visits all images in a new order; after it the fooling rates are measured.

    Args:
        method: improves the perturbation.
        network: images in [0, 1] to logits.
        images: the images to fool, uint8 ``(N, H, W, 3)``, read in slices.
        held_out: images to measure the fooling rate on, of the same kind.
        device: where ``network`` is.
        generator: orders the images.
        norm: ``linf`` or ``l2``.
        radius: the bound of the perturbation's norm, in units of 1/255.
        fooling_rate: the search ends after the pass that reaches this rate on ``images``.
        passes: at most so many passes over ``images``.
        batch_size: images at a time.
        checkpoint: a file to resume from if it exists, and to keep up to date. One network's file
            must not be given to another. The caller removes it.
        noise: what a stochastic network draws from. The checkpoint keeps its state, so that a
            resumed search draws what an uninterrupted one would have drawn.
    """
    identity = _identity(
        images,
        held_out,
        norm=norm,
        radius=radius,
        passes=passes,
        batch_size=batch_size,
        method=type(method).__name__,
        **vars(method),
    )
    generators = [generator] if noise is None else [generator, noise]
    state = _load(checkpoint, identity, generators, device)
    if state is None:
        state = _begin(network, images, held_out, generator, batch_size=batch_size, device=device)
    own = state.history["fooling_rate"]
    updates = passes * math.ceil(len(images) / batch_size)
    saved = time.monotonic()
    while len(own) < passes and max(own, default=0) < fooling_rate:
        starts = range(state.position, len(images), batch_size)
        for start in progress(starts, f"pass {len(own) + 1} of {passes}, batches", len(starts)):
            # Sorted, because HDF5 reads increasing rows only.
            rows = state.order[start : start + batch_size].sort().values
            pixels = to_tensor(images[rows.numpy()], device)
            predicted = state.predicted[rows].to(device)
            moved = method.update(state, Batch(network, pixels, predicted, norm, updates))
            (state.perturbation,) = within(moved[None], norm, radius)
            state.position = start + batch_size
            state.updates += 1
            if checkpoint and time.monotonic() - saved >= CHECKPOINT_SECONDS:
                _save(checkpoint, identity, generators, state)
                saved = time.monotonic()
        _measure(network, state, images, held_out, batch_size=batch_size, device=device)
        state.order = torch.randperm(len(images), generator=generator)
        state.position = 0
        if checkpoint:
            _save(checkpoint, identity, generators, state)
    return _result(state)


def _begin(
    network: nn.Module,
    images: Images,
    held_out: Images,
    generator: torch.Generator,
    *,
    batch_size: int,
    device: torch.device,
) -> Search:
    """A search that has done nothing but predict the images as they are."""
    height, width, channels = images.shape[1:]
    zero = torch.zeros(height, width, channels, device=device).permute(2, 0, 1)
    predicted, predicted_held_out = (
        _predict(network, part, _as_stored(zero), batch_size=batch_size, device=device)
        for part in (images, held_out)
    )
    return Search(
        perturbation=zero,
        best=zero,
        predicted=torch.from_numpy(predicted),
        predicted_held_out=torch.from_numpy(predicted_held_out),
        order=torch.randperm(len(images), generator=generator),
    )


def _measure(
    network: nn.Module,
    state: Search,
    images: Images,
    held_out: Images,
    *,
    batch_size: int,
    device: torch.device,
) -> None:
    """Add the fooling rates of a finished pass to the history, and keep the best perturbation."""
    own, unseen = state.history["fooling_rate"], state.history["fooling_rate_held_out"]
    for rates, measured, predictions in (
        (own, images, state.predicted),
        (unseen, held_out, state.predicted_held_out),
    ):
        rate = fooling_rate(
            network,
            measured,
            _as_stored(state.perturbation),
            predictions.numpy(),
            batch_size=batch_size,
            device=device,
        )
        rates.append(rate)
    print(f"pass {len(own)}: fools {own[-1]:.3f} of its images, {unseen[-1]:.3f} of held-out ones")
    if own[-1] == max(own):
        state.best = state.perturbation


def _result(state: Search) -> Universal:
    """The best perturbation of a search that ended."""
    own, unseen = state.history["fooling_rate"], state.history["fooling_rate_held_out"]
    # The latest of equals, as in `_measure`.
    best = max(range(len(own)), key=lambda index: (own[index], index))
    return Universal(
        perturbation=_as_stored(state.best),
        history={name: np.array(rates) for name, rates in state.history.items()},
        fooling_rate=own[best],
        fooling_rate_held_out=unseen[best],
    )


@torch.inference_mode()
def _predict(
    network: nn.Module,
    images: Images,
    perturbation: np.ndarray,
    *,
    batch_size: int,
    device: torch.device,
) -> np.ndarray:
    """The predictions, int64 ``(N,)``, for images under a perturbation."""
    starts = range(0, len(images), batch_size)
    timed = progress(starts, "batches predicted", len(starts))
    parts = (apply(images[start : start + batch_size], perturbation) for start in timed)
    predicted = [network(to_tensor(part, device)).argmax(dim=1).cpu() for part in parts]
    return torch.cat(predicted).numpy()


def _as_stored(perturbation: Tensor) -> np.ndarray:
    return np.ascontiguousarray(perturbation.permute(1, 2, 0).cpu().numpy())


def _identity(images: Images, held_out: Images, **options: Any) -> str:
    """What two searches must share for one to resume from the other's checkpoint."""
    options |= {"images": images.shape, "held_out": held_out.shape}
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for part in (images[:32], held_out[:32]):
        digest.update(part.tobytes())
    return digest.hexdigest()


def _save(path: Path, identity: str, generators: list[torch.Generator], state: Search) -> None:
    content = {
        "identity": identity,
        "generators": [generator.get_state() for generator in generators],
        "search": vars(state),
    }
    save_checkpoint(path, content)


def _load(
    path: Path | None, identity: str, generators: list[torch.Generator], device: torch.device
) -> Search | None:
    """The search of a checkpoint, with its generators set as they were; None without one."""
    if path is None or not path.exists():
        return None
    content = load_checkpoint(path)
    if content["identity"] != identity:
        print(f"{path}: belongs to another search, which is not resumed")
        return None
    for generator, generator_state in zip(generators, content["generators"], strict=True):
        generator.set_state(generator_state)
    state = Search(**content["search"])
    state.perturbation = state.perturbation.to(device)
    state.best = state.best.to(device)
    state.memory = {name: value.to(device) for name, value in state.memory.items()}
    print(f"{path}: resuming after {len(state.history['fooling_rate'])} passes")
    return state
