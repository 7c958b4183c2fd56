"""Whether a defence can be fitted in the memory that a job has."""

import torch

from advrob.errors import UserError
from advrob.files import store


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
