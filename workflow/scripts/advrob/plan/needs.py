"""What a job asks of the machine it runs on: memory and time from the sizes of what it works on.

The memory follows from what each stage holds; the constants were compared with measured peaks
(docs/cluster.md). Times are cautious: the run time of a job is a limit, not a forecast, and a job
that outlives it resumes from its checkpoint in the next attempt.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .components import GRAM_LIMIT, ITERATIONS, principal_memory, span
from .kinds import Kind

# Memory, in MB. --------------------------------------------------------------------------------

# Python with PyTorch, and what CUDA takes of the host's memory.
BASE = 3000
# What a pass over a collection of images in blocks holds, in GB: `linalg.BUDGET`, and parts of it.
BLOCKS = 2.7
# A batch of a defence that learns, in GB, where its kind does not say.
LEARNING = 4
# For one image in a network: forward alone, and with what the backward pass needs.
FORWARD, BACKWARD = 50, 200
# Over the sum of what is held.
MARGIN = 1.2

# Time, in seconds. -----------------------------------------------------------------------------

# An image through a network, and forward and backward, on eight cores that are not the newest.
PREDICTION, GRADIENT = 0.05, 0.15
# An image and a weight of the linear autoencoder, and operations a second, on such cores.
WEIGHT, FLOPS = 1e-10, 2e11
# How often a defence goes through the images, where neither its kind nor its entry says.
EPOCHS = 30
# A photograph decoded and written.
PHOTOGRAPH = 0.02
# How much faster a GPU is taken to be.
GPU = 20
# A job longer than this would not fit many partitions, in minutes; it takes several attempts.
LONGEST = 24 * 60
# Starting, waiting for files, writing, in minutes.
SHORTEST = 20
# A job that takes less than so many minutes, by these cautious figures, has one thread.
SHORT = 10
THREADS = 8

# How many photographs there may be, by layout: two splits of ImageNet, or a guess.
PHOTOGRAPHS = {"packages": 1_000, "tree": 100_000, "table": 100_000, "imagenet": 1_350_000}

# An image of 224 x 224, for which times were measured.
NUMBERS = 3 * 224**2


@dataclass(frozen=True)
class Need:
    """What a job asks for.

    Attributes:
        memory: in MB.
        minutes: a limit to its time.
        threads: one for a short job, which spends most of its time on starting, so that several
            run at once.
    """

    memory: int
    minutes: int
    threads: int


def fitting(
    kind: Kind, entry: Mapping[str, Any], *, images: float, numbers: int, gpu: bool
) -> Need:
    """Fitting a defence.

    Args:
        kind: of the defence, whose traits say what it costs; see `advrob.defences.Defence`.
        entry: its parameters in the configuration.
        images: how many there are to fit.
        numbers: in an image, 3 H W.
        gpu: whether the job has one.
    """
    values, traits = kind.values(entry), kind.traits
    images = min(images, values.get("images") or images)
    passes, seconds = traits.get("passes", 1), 0.0
    epochs = kind.effort(entry) if "effort" in traits else values.get("epochs", EPOCHS)
    if "principal" in traits:
        components = values.get(traits["principal"])
        gigabytes, seconds = _components(components, images, numbers, gpu)
        weights = numbers * (components or span(None, numbers))
        # In float32, their copy for products and their momentum in bfloat16.
        gigabytes += traits.get("gigabytes", 0) + (8 * weights / 1e9 if passes else 0)
        visit = WEIGHT * weights
    else:
        gigabytes = traits.get("gigabytes", LEARNING)
        visit = GRADIENT * numbers / NUMBERS
    seconds += passes * epochs * visit * images / (GPU if gpu else 1)
    return _need(1000 * gigabytes, seconds)


def _components(
    components: int | None, images: float, numbers: int, gpu: bool
) -> tuple[float, float]:
    """GB and seconds of a search for principal components; see `advrob.linear.principal`."""
    memory = principal_memory(images, numbers, components)
    if images <= GRAM_LIMIT:
        # Sums of products and components, growing with n^2 d, and the decomposition, with n^3.
        seconds = 5e-6 * images**2 * numbers / NUMBERS + 2e-10 * images**3
        return memory / 1e9 + BLOCKS, seconds
    directions = span(components, numbers)
    operations = (8 * ITERATIONS + 6) * directions * images * numbers
    seconds = operations / FLOPS / (GPU if gpu else 1)
    return (memory + 24 * directions**2) / 1e9 + BLOCKS, seconds


def training(
    kind: Kind, entry: Mapping[str, Any], *, images: float, gpu: bool, state: float = 0
) -> Need:
    """Training a network, or a generator against it.

    Args:
        kind: the lesson; ``gan`` for a generator.
        entry: a model's ``train``, or the configuration's ``perturbations.gan``.
        images: how many there are to fit.
        gpu: whether the job has one.
        state: size of the fitted defence's file in MB, 0 without one.
    """
    used = min(images, entry.get("images") or images)
    # A lesson's forward and backward passes per image, and its images in memory per image shown.
    passes, held = kind.traits.get("passes", 1), kind.traits.get("held", 1)
    if "effort" in kind.traits:
        passes += kind.effort(entry)
    seconds = entry["epochs"] * used * passes * GRADIENT
    memory = _network(state) + held * entry["batch_size"] * BACKWARD
    return _need(memory, seconds / (GPU if gpu else 1))


def universal(
    kind: Kind,
    entry: Mapping[str, Any],
    *,
    images: float,
    held_out: float,
    numbers: int,
    state: float,
    batch_size: int,
    gpu: bool,
) -> Need:
    """A universal perturbation.

    Args:
        kind: the method.
        entry: the configuration's ``perturbations.universal``.
        images: how many there are to make it from.
        held_out: how many it is measured on besides.
        numbers: in an image, 3 H W.
        state: size of the fitted defence's file in MB, 0 without one.
        batch_size: images in the network at a time.
        gpu: whether the job has one.
    """
    limit = entry.get("images")
    used = min(images, limit or images)
    if "effort" in kind.traits:
        values = kind.values(entry)
        usual = kind.traits.get("usual_effort", ())
        values |= {key: min(values[key], count) for key, count in usual}
        visit = PREDICTION + kind.effort(values) * GRADIENT
    else:
        visit = GRADIENT
    measured = (used + held_out) * PREDICTION
    # All images as they are and, in the end, perturbed.
    seconds = 2 * measured + entry["passes"] * used * visit
    # Some of the images are copied, all of them stay in their file.
    held = used * numbers / 1e6 if limit else 0
    memory = held + _network(state) + batch_size * BACKWARD
    return _need(memory, seconds / (GPU if gpu else 1))


def gradient(*, images: float, iterations: int, state: float, batch_size: int, gpu: bool) -> Need:
    """Gradient perturbations of ``images`` images; the other arguments are those of `universal`."""
    seconds = images * (iterations * GRADIENT + PREDICTION)
    return _need(_network(state) + batch_size * BACKWARD, seconds / (GPU if gpu else 1))


def scoring(*, images: float, networks: int, state: float, batch_size: int, gpu: bool) -> Need:
    """Scores of ``networks`` networks; the other arguments are those of `universal`."""
    seconds = images * networks * PREDICTION
    return _need(_network(state) + batch_size * FORWARD, seconds / (GPU if gpu else 1))


def drawing(state: float) -> Need:
    """A figure that a network and fitted defences of ``state`` MB are needed for."""
    return _need(_network(state) + 16 * FORWARD, 0)


def exporting(size: float, *, images: float) -> Need:
    """``images`` images of ``size`` MB in 8 bits as pictures, and all together in float32."""
    return _need(4 * size, images * PHOTOGRAPH)


def photographs(image_options: Mapping[str, Any], shards: int) -> Need:
    """A shard of the photographs that the configuration's ``images`` draws and decodes.

    Where it leaves their number to what is there, as many as `PHOTOGRAPHS` says are expected.
    """
    everything = PHOTOGRAPHS[image_options["layout"]]
    count = 0
    for part in (image_options["test"], image_options["fit"]):
        count += part.get("total") or 1000 * part.get("per_class", 0) or everything
    # Names and checksums of all that could be drawn.
    return _need(0.001 * everything, count * PHOTOGRAPH / shards)


def _network(state: float) -> float:
    """MB of a network with its defence: float32 and, where it multiplies in bfloat16, a copy."""
    return 2 * state


def _need(memory: float, seconds: float) -> Need:
    """Round up; every job has Python to hold and time to start in."""
    return Need(
        memory=math.ceil((BASE + MARGIN * memory) / 1000) * 1000,
        minutes=min(SHORTEST + math.ceil(seconds / 60), LONGEST),
        threads=1 if seconds < 60 * SHORT else THREADS,
    )
