"""What a network of a job answers and what its defence does, tried before the job's long work."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import h5py
import torch
from torch import Tensor

from advrob.errors import UserError, mentions_memory, of_code
from advrob.files import store
from advrob.images.pixels import to_tensor
from advrob.job.compute import Job
from advrob.models import Model, check_answers
from advrob.networks import Network, build
from advrob.plan.plan import NetworkDescription

# Images that a network is tried on.
PROBED = 2
# How far outside [0, 1] the pixels that a defence returns may be on average.
OUTSIDE = 0.05


@contextmanager
def ready(
    described: NetworkDescription,
    images: str,
    job: Job,
    *,
    generator: torch.Generator | None = None,
    mixed: bool = False,
) -> Iterator[tuple[Network, h5py.File]]:
    """A network that was tried, and an open file of images for it.

    Args:
        described: the network's description.
        images: the file.
        job: the device.
        generator: see `advrob.networks.build`.
        mixed: see `Network`.

    Raises:
        UserError: see `probe`.
    """
    network = build(described, generator=generator, device=job.device, mixed=mixed)
    with store.read(images, "images/1") as source:
        probe(network, described, source)
        yield network, source


def probe(network: Network, described: NetworkDescription, source: h5py.File) -> None:
    """Refuse a network whose results would mean nothing.

    Args:
        network: as it was built.
        described: its description, for the messages.
        source: an open file of images.

    Raises:
        UserError: the model's answers cannot be scored, or the defence fails, gives something else
            than images, or draws random numbers in another way than it says.
    """
    device = next(network.model.buffers()).device
    images = to_tensor(source["images"][:PROBED], device)
    classes = int(source["labels"][:].max(initial=0)) + 1
    check_answers(cast(Model, network.model), classes, images, name=described["model"])
    generator = network.defence.generator
    try:
        learned = any(part.startswith("defence ") for part in described["learned"])
        check_defence(network, images, f"defences.{described['defence']}", learned=learned)
    finally:
        network.defence.generator = generator


def check_defence(network: Network, images: Tensor, key: str, *, learned: bool = False) -> None:
    """Refuse a defence that does not do what a defence does.

    Args:
        network: the model behind it.
        images: ``(N, 3, H, W)`` in [0, 1].
        key: of the configuration, for the messages.
        learned: whether it has learned: then another scale may be the result of little training,
            which the accuracy behind it shows.

    Raises:
        UserError: see `probe`.
    """
    first, second = (_defended(network, images, key) for _ in range(2))
    if not isinstance(first, Tensor) or first.shape != images.shape:
        output = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
        raise UserError(
            f"{key}: returns {output} for images of shape {tuple(images.shape)}. Expected a "
            "tensor of the same shape; a defence returns images."
        )
    _check_values(first, images.dtype, key, learned)
    if torch.equal(first, second):
        return
    if network.defence.stochastic:
        raise UserError(
            f"{key}: is stochastic, but draws other numbers from the same generator. Draw all "
            "random numbers from self.generator, for example by self.draw."
        )
    raise UserError(
        f"{key}: returns other images each time, but does not declare it: attacks would follow a "
        "single draw. Set stochastic = True in its class and draw from self.generator."
    )


def _check_values(defended: Tensor, dtype: torch.dtype, key: str, learned: bool) -> None:
    if defended.dtype != dtype:
        actual, expected = (str(each).removeprefix("torch.") for each in (defended.dtype, dtype))
        raise UserError(
            f"{key}: returns numbers of type {actual}. Expected {expected}, 0 to 1 for black to "
            "white."
        )
    if not defended.isfinite().all():
        raise UserError(
            f"{key}: returns NaN or infinity. Expected finite numbers, 0 to 1 for black to white."
        )
    # A projection or a filter may overshoot a little; another scale is far outside.
    if not learned and (defended - defended.clamp(0, 1)).abs().mean() > OUTSIDE:
        raise UserError(
            f"{key}: returns numbers from {defended.min():.3g} to {defended.max():.3g}. Expected "
            "images like those it is given, 0 to 1 for black to white; the model normalises them "
            "itself."
        )


@torch.no_grad()
def _defended(network: Network, images: Tensor, key: str) -> Tensor:
    """The defence's images, its random numbers drawn from the same start in every call."""
    device = images.device
    network.defence.generator = torch.Generator(device).manual_seed(0)
    try:
        return network.defended(images)
    except UserError:
        raise
    except Exception as error:
        if mentions_memory(error):
            raise
        raise UserError(
            f"{key}: fails on images of shape {tuple(images.shape)} ({of_code(error)}). Correct "
            "the defence; its forward takes and returns float images (N, 3, H, W)."
        ) from error
