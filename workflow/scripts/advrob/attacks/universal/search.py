"""One perturbation that fools a network on most images: the search and its DeepFool version."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from advrob.attacks.deepfool import deepfool
from advrob.files.checkpoints import keep, kept
from advrob.files.store import Images
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
    """Where a search stands, and all that going on from there needs.

    Attributes:
        perturbation: float32 ``(3, H, W)`` in units of 1/255, on the network's device.
        best: the one of the finished passes that fools most of the search's own images.
        predicted: the network's predictions for the images as they are, int64 ``(N,)``.
        predicted_held_out: the same for the held-out images.
        order: the images' order in the current pass, int64 ``(N,)``.
        position: how many of them the current pass has seen.
        updates: how often the perturbation was updated in all passes together.
        history: see `Universal`.
        memory: what an update rule keeps from batch to batch.
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


# From where the search stands, a batch (B, 3, H, W) in [0, 1] and its clean predictions (B,) to the
# next perturbation, not yet projected.
Update: TypeAlias = Callable[[Search, Tensor, Tensor], Tensor]


def project(perturbation: Tensor, *, norm: str, radius: float) -> Tensor:
    """The nearest perturbation whose norm, ``linf`` or ``l2`` of all its values, is <= radius."""
    if norm == "linf":
        return perturbation.clamp(-radius, radius)
    if norm == "l2":
        return perturbation * (radius / perturbation.norm().clamp(min=radius))
    raise ValueError(f"norm is '{norm}', expected 'linf' or 'l2'")


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
    now = _predict(network, images, perturbation, batch_size=batch_size, device=device)
    return float((now != predicted).mean())


def universal(
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
    classes: int = 10,
    overshoot: float = 0.02,
    steps: int = 50,
    checkpoint: Path | None = None,
    noise: torch.Generator | None = None,
) -> Universal:
    """Find a universal perturbation by summing smallest perturbations.

    Moosavi-Dezfooli, Fawzi, Fawzi and Frossard, "Universal adversarial perturbations" (2017),
    Algorithm 1; the reproduced paper's equation 3. For the images of a batch that ``v`` does not
    fool yet, DeepFool finds the smallest further change that does; their sum is added to ``v`` and
    the result projected onto the ball. The authors go image by image; a batch is the same algorithm
    with ``v`` fixed while its images are visited.

    The defaults are the published settings, but for the batch. They spend most of their time on
    ending just beyond a boundary, although the next images move ``v`` again. One long step across
    the boundary of the most likely other class (``classes=2``, ``overshoot=3``, ``steps=1``) is
    cheaper: on 192 images and EfficientNet-Lite0 a pass of it fooled 0.25 of 300 other images,
    where ``classes=10``, ``overshoot=0.02``, ``steps=10`` took 17 times as long and fooled 0.15.

    Args:
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
        classes: see `deepfool`.
        overshoot: see `deepfool`.
        steps: see `deepfool`.
        checkpoint: a file to go on from if it exists, and to keep up to date. One network's file
            must not be given to another. The caller removes it.
        noise: what a stochastic network draws from: its place is kept in the checkpoint, so that a
            resumed search draws what an uninterrupted one would have drawn.
    """

    def update(state: Search, batch: Tensor, predicted: Tensor) -> Tensor:
        moved = (batch + state.perturbation / 255).clamp(0, 1)
        with torch.no_grad():
            unfooled = network(moved).argmax(dim=1) == predicted
        if not unfooled.any():
            return state.perturbation
        smallest = deepfool(
            network, moved[unfooled], classes=classes, overshoot=overshoot, steps=steps
        )
        return state.perturbation + 255 * smallest.sum(dim=0)

    return search(
        update,
        network,
        images,
        held_out,
        device=device,
        generator=generator,
        norm=norm,
        radius=radius,
        wanted=fooling_rate,
        passes=passes,
        batch_size=batch_size,
        checkpoint=checkpoint,
        noise=noise,
        classes=classes,
        overshoot=overshoot,
        steps=steps,
    )


def search(
    update: Update,
    network: nn.Module,
    images: Images,
    held_out: Images,
    *,
    device: torch.device,
    generator: torch.Generator,
    norm: str,
    radius: float,
    wanted: float,
    passes: int,
    batch_size: int,
    checkpoint: Path | None,
    noise: torch.Generator | None,
    **settings: float,
) -> Universal:
    """Improve a perturbation batch by batch: what every universal attack has in common.

    Each pass visits all images in a new order. After it the fooling rates are measured; the search
    ends when the ``wanted`` one is reached. The other arguments are those of `universal`, and
    ``settings`` those of the update rule: a checkpoint made with others is not gone on from.
    """
    identity = _identity(
        images, held_out, norm=norm, radius=radius, passes=passes, batch_size=batch_size, **settings
    )
    generators = [generator] if noise is None else [generator, noise]
    state = _load(checkpoint, identity, generators, device)
    if state is None:
        height, width, channels = images.shape[1:]
        zero = torch.zeros(height, width, channels, device=device).permute(2, 0, 1)
        predicted, predicted_held_out = (
            _predict(network, part, _as_stored(zero), batch_size=batch_size, device=device)
            for part in (images, held_out)
        )
        state = Search(
            perturbation=zero,
            best=zero,
            predicted=torch.from_numpy(predicted),
            predicted_held_out=torch.from_numpy(predicted_held_out),
            order=torch.randperm(len(images), generator=generator),
        )
    own, unseen = state.history["fooling_rate"], state.history["fooling_rate_held_out"]
    saved = time.monotonic()
    while len(own) < passes and max(own, default=0) < wanted:
        starts = range(state.position, len(images), batch_size)
        for start in progress(starts, f"pass {len(own) + 1} of {passes}, batches", len(starts)):
            # Sorted, because HDF5 reads increasing rows only.
            rows = state.order[start : start + batch_size].sort().values
            batch = to_tensor(images[rows.numpy()], device)
            moved = update(state, batch, state.predicted[rows].to(device))
            state.perturbation = project(moved, norm=norm, radius=radius)
            state.position = start + batch_size
            state.updates += 1
            if checkpoint and time.monotonic() - saved >= CHECKPOINT_SECONDS:
                _save(checkpoint, identity, generators, state)
                saved = time.monotonic()
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
        print(
            f"pass {len(own)}: fools {own[-1]:.3f} of its images, {unseen[-1]:.3f} of held-out ones"
        )
        if own[-1] == max(own):
            state.best = state.perturbation
        state.order = torch.randperm(len(images), generator=generator)
        state.position = 0
        if checkpoint:
            _save(checkpoint, identity, generators, state)
    # The latest of equals, as in the loop.
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


def _identity(images: Images, held_out: Images, **settings: Any) -> str:
    """What two searches must share for one to go on from the other's checkpoint."""
    settings |= {"images": images.shape, "held_out": held_out.shape}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for part in (images[:32], held_out[:32]):
        digest.update(part.tobytes())
    return digest.hexdigest()


def _save(path: Path, identity: str, generators: list[torch.Generator], state: Search) -> None:
    content = {
        "identity": identity,
        "generators": [generator.get_state() for generator in generators],
        "search": vars(state),
    }
    keep(path, content)


def _load(
    path: Path | None, identity: str, generators: list[torch.Generator], device: torch.device
) -> Search | None:
    """The search that a checkpoint holds, its generators put where they were; None without one."""
    if path is None or not path.exists():
        return None
    content = kept(path)
    if content["identity"] != identity:
        print(f"{path}: belongs to another search, which is not gone on from")
        return None
    for generator, place in zip(generators, content["generators"], strict=True):
        generator.set_state(place)
    state = Search(**content["search"])
    state.perturbation = state.perturbation.to(device)
    state.best = state.best.to(device)
    state.memory = {name: value.to(device) for name, value in state.memory.items()}
    print(f"{path}: going on after {len(state.history['fooling_rate'])} passes")
    return state
