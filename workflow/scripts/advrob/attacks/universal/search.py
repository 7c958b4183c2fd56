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
from advrob.errors import UserError
from advrob.files.checkpoints import load_checkpoint, save_checkpoint
from advrob.files.rows import Images
from advrob.images.perturbation import apply
from advrob.images.pixels import to_tensor
from advrob.job.progress import progress
from advrob.models.prediction import decided

# How often a search writes its checkpoint, and so the most that a killed one loses.
CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Universal:
    """A universal perturbation and how often it fools the network that it was made against.

    A fooling rate is the fraction of images whose prediction changes; they are measured on 8-bit
    images, clipped and rounded.

    Attributes:
        perturbation: float32 ``(H, W, 3)`` in units of 1/255, at the end of the last pass.
        history: the fooling rate of each pass, float64: of its own images, each before its batch
            changed the perturbation.
        fooling_rate: of ``perturbation`` on the images that it was made from.
        fooling_rate_held_out: of ``perturbation`` on images that it was not made from.
        hit_rate: the share of the images that it was made from that are taken for the target; None
            without one.
        hit_rate_held_out: of images that it was not made from.
    """

    perturbation: np.ndarray
    history: np.ndarray
    fooling_rate: float
    fooling_rate_held_out: float
    hit_rate: float | None
    hit_rate_held_out: float | None


@dataclass
class Search:
    """The state of a search, and all that is needed to resume it.

    Attributes:
        perturbation: float32 ``(3, H, W)`` in units of 1/255, on the network's device.
        predicted: the network's predictions for the images as they are, int64 ``(N,)``.
        order: the images' order in the current pass, int64 ``(N,)``.
        position: how many of them the current pass has seen.
        fooled: how many of these it has found fooled.
        updates: how often the perturbation was updated in all passes together.
        history: see `Universal`.
        memory: the state of an update rule from batch to batch.
    """

    perturbation: Tensor
    predicted: Tensor
    order: Tensor
    position: int = 0
    fooled: int = 0
    updates: int = 0
    history: list[float] = field(default_factory=list)
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
        network: images in [0, 1] to logits. In its first forward pass of all images of the batch
            is counted how many are fooled, so that pass must be of perturbed ones.
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


class _Counting(nn.Module):
    """A network that counts how many images of a batch are fooled when it first sees them all."""

    def __init__(self, network: nn.Module, predicted: Tensor, target: int | None) -> None:
        super().__init__()
        self.network, self.predicted, self.target = network, predicted, target
        self.fooled: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        if self.fooled is None and len(images) == len(self.predicted):
            classes = logits.detach().argmax(dim=1)
            hits = classes != self.predicted if self.target is None else classes == self.target
            self.fooled = hits.sum()
        return logits


class UniversalMethod:
    """How a search improves its perturbation from batch to batch.

    A method is one file of this folder and one entry in the configuration; see
    `advrob.plan.kinds`. Its hyperparameters are attributes, which identify a checkpoint.

    Attributes:
        target: the class that it makes images be taken for; None for any but the predicted one.
        mixed: whether it tolerates a network that multiplies in bfloat16.
        largest_batch: the most images at a time, where more would make it weaker.
        effort: the keys whose product is the gradients per image; one gradient without any.
        usual_effort: keys whose value is a maximum, each with what it usually comes to.
    """

    target: int | None = None
    mixed: bool = True
    largest_batch: int | None = None
    effort: str | Sequence[str] = ()
    usual_effort: Sequence[tuple[str, int]] = ()

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

    Each pass visits all images in a new order, and counts those that the perturbation fools when
    their turn comes. What the perturbation fools in the end is measured once, on 8-bit images.

    Args:
        method: improves the perturbation.
        network: images in [0, 1] to logits.
        images: the images to fool, uint8 ``(N, H, W, 3)``, read in slices.
        held_out: images to measure the fooling rate on, of the same kind.
        device: where ``network`` is.
        generator: orders the images.
        norm: ``linf`` or ``l2``.
        radius: the bound of the perturbation's norm, in units of 1/255.
        fooling_rate: the search ends after the pass that counts this rate on ``images``; with a
            target, the rate of those that are taken for it.
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
        state = _begin(network, images, generator, batch_size=batch_size, device=device)
    rates = state.history
    updates = passes * math.ceil(len(images) / batch_size)
    saved = time.monotonic()
    while len(rates) < passes and (not rates or rates[-1] < fooling_rate):
        starts = range(state.position, len(images), batch_size)
        for start in progress(starts, f"pass {len(rates) + 1} of {passes}, batches", len(starts)):
            # Sorted, because HDF5 reads increasing rows only.
            rows = state.order[start : start + batch_size].sort().values
            pixels = to_tensor(images[rows.numpy()], device)
            predicted = state.predicted[rows].to(device)
            counting = _Counting(network, predicted, method.target)
            moved = method.update(state, Batch(counting, pixels, predicted, norm, updates))
            _require_perturbation(moved, method, state)
            (state.perturbation,) = within(moved[None], norm, radius)
            state.fooled += int(counting.fooled or 0)
            state.position = start + batch_size
            state.updates += 1
            if checkpoint and time.monotonic() - saved >= CHECKPOINT_SECONDS:
                _save(checkpoint, identity, generators, state)
                saved = time.monotonic()
        rates.append(state.fooled / len(images))
        print(f"pass {len(rates)}: fools {rates[-1]:.3f} of its images on the way")
        state.order = torch.randperm(len(images), generator=generator)
        state.position = state.fooled = 0
        if checkpoint:
            _save(checkpoint, identity, generators, state)
    return _result(
        network, state, method.target, images, held_out, batch_size=batch_size, device=device
    )


def _require_perturbation(moved: Any, method: UniversalMethod, state: Search) -> None:
    """Refuse what a method returned if it is no perturbation."""
    expected = tuple(state.perturbation.shape)
    if not isinstance(moved, Tensor) or moved.shape != expected:
        returned = tuple(moved.shape) if isinstance(moved, Tensor) else type(moved).__name__
        raise UserError(
            f"universal method {type(method).__name__}: its update returns {returned}. Expected a "
            f"perturbation of shape {expected}. Correct it."
        )
    if not moved.isfinite().all():
        raise UserError(
            f"universal perturbation: is not finite (NaN or infinity) after {state.updates + 1} "
            "updates, since the network's gradients are not. Look for a division by zero or a root "
            "of zero in the network, at a picture of one colour for example; or correct the method."
        )


def _begin(
    network: nn.Module,
    images: Images,
    generator: torch.Generator,
    *,
    batch_size: int,
    device: torch.device,
) -> Search:
    """A search that has done nothing but predict the images as they are."""
    height, width, channels = images.shape[1:]
    zero = torch.zeros(height, width, channels, device=device).permute(2, 0, 1)
    predicted = _predict(network, images, _as_stored(zero), batch_size=batch_size, device=device)
    return Search(
        perturbation=zero,
        predicted=torch.from_numpy(predicted),
        order=torch.randperm(len(images), generator=generator),
    )


def _result(
    network: nn.Module,
    state: Search,
    target: int | None,
    images: Images,
    held_out: Images,
    *,
    batch_size: int,
    device: torch.device,
) -> Universal:
    """What a search that ended has found."""
    perturbation = _as_stored(state.perturbation)
    where: dict[str, Any] = {"batch_size": batch_size, "device": device}
    own = _predict(network, images, perturbation, **where)
    others = _predict(network, held_out, perturbation, **where)
    unperturbed = _predict(network, held_out, 0 * perturbation, **where)
    return Universal(
        perturbation=perturbation,
        history=np.array(state.history),
        fooling_rate=float((own != state.predicted.numpy()).mean()),
        fooling_rate_held_out=float((others != unperturbed).mean()),
        hit_rate=None if target is None else float((own == target).mean()),
        hit_rate_held_out=None if target is None else float((others == target).mean()),
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
    predicted = [decided(network(to_tensor(part, device))).cpu() for part in parts]
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
    content = load_checkpoint(path) if path else {}
    if not content:
        return None
    if content["identity"] != identity:
        print(f"{path}: belongs to another search, which is not resumed")
        return None
    for generator, generator_state in zip(generators, content["generators"], strict=True):
        generator.set_state(generator_state)
    state = Search(**content["search"])
    state.perturbation = state.perturbation.to(device)
    state.memory = {name: value.to(device) for name, value in state.memory.items()}
    print(f"{path}: resuming after {len(state.history)} passes")
    return state
