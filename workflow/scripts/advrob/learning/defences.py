"""What fitting a defence needs: memory, and for some kinds a model to learn from."""

from collections.abc import Sequence
from importlib import import_module

import torch
from torch import nn

from advrob.errors import UserError
from advrob.files import store
from advrob.plan.plan import NetworkDescription


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
            f"defences.{defence}: fitting it to {images} images needs {store.readable(needed)} of "
            f"memory, but the job may use {store.readable(memory)}. Fit on fewer images "
            "(images.fit), make the defence smaller, or give the job more: --set-resources "
            f"defence:mem_mb={2 * needed // 10**6}"
        )


def classifier(
    described: Sequence[NetworkDescription], device: torch.device
) -> dict[str, nn.Module]:
    """The model whose predictions a defence learns from, as a keyword of its ``fit``.

    Args:
        described: the model; empty for a defence that learns from images alone.
        device: where it runs.
    """
    if not described:
        return {}
    (model,) = described
    # Imported by name, so that the code that builds models counts only for defences that learn from
    # one; see `advrob.plan.plan.Plan.fitting_code`.
    return {"classifier": import_module("advrob.networks").build_model(model, device=device)}
