"""What fitting a defence needs: memory, and for some kinds a model to learn from."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch

from advrob.errors import UserError
from advrob.files.store import Array, StreamedArray
from advrob.job.compute import Job
from advrob.job.disk import readable
from advrob.plan.plan import NetworkDescription

# NumPy's kinds of types that a file of what was learned can hold.
NUMBERS = "biuf"


def check_memory(defence: str, needed: int, images: int, memory: int, device: torch.device) -> None:
    """Refuse to fit a defence that needs more memory than there is.

    Args:
        defence: its name in the configuration.
        needed: the least bytes that it needs on a CPU.
        images: how many it is fitted to.
        memory: bytes that the job may use.
        device: where it computes; on a GPU nothing is refused.

    Raises:
        UserError: it needs more.
    """
    if device.type == "cpu" and needed > memory:
        raise UserError(
            f"defences.{defence}: fitting it to {images} images needs {readable(needed)} of "
            f"memory, but the job may use {readable(memory)}. Fit on fewer images "
            "(images.fit), make the defence smaller, or give the job more: --set-resources "
            f"defence:mem_mb={2 * needed // 10**6}"
        )


def fit_options(kind: str, described: Sequence[NetworkDescription], job: Job) -> dict[str, Any]:
    """The keywords of a defence's ``fit``, but for the checkpoint.

    Args:
        kind: of the defence. Entries of one kind draw alike, so that they differ by their
            parameters alone.
        described: the model whose predictions it learns from; empty if it learns from images alone.
        job: where it is fitted.
    """
    options = {"device": job.device, "generator": job.cpu_generator("defence", kind)}
    if not described:
        return options
    (model,) = described
    # Imported by name, so that the code that builds models counts only for defences that learn from
    # one; see `advrob.plan.plan.Plan.fitting_code`.
    networks = import_module("advrob.networks")
    return options | {"classifier": networks.build_model(model, device=job.device)}


def check_arrays(defence: str, arrays: Any) -> dict[str, Array]:
    """Refuse what a defence's ``fit`` returned if it is not what its ``load`` is to get.

    Raises:
        UserError: it is no mapping from names to arrays.
    """
    if not isinstance(arrays, Mapping):
        raise UserError(
            f"defences.{defence}: its fit returned an object of type {type(arrays).__name__}. "
            "Expected a mapping from names to arrays; its load gets them."
        )
    for name, array in arrays.items():
        if not isinstance(array, StreamedArray) and np.asarray(array).dtype.kind not in NUMBERS:
            raise UserError(
                f"defences.{defence}: its fit returned {name!r} of type {type(array).__name__}. "
                "Expected an array of numbers for each name."
            )
    return dict(arrays)
