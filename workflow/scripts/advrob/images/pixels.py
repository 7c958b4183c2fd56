"""Between stored 8-bit images and the tensors that networks see."""

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from advrob.errors import UserError


def to_tensor(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """8-bit images ``(N, H, W, 3)`` as a float tensor ``(N, 3, H, W)`` in [0, 1], channels last."""
    # The stored layout already is channels-last memory: permuting moves no data.
    return (
        torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float() / 255
    )


def quantise(images: Tensor) -> Tensor:
    """Clip to [0, 1] and round to the nearest of 256 levels, as storing with 8 bits does."""
    return (images.float().clamp(0, 1) * 255).round() / 255


def to_uint8(images: Tensor) -> np.ndarray:
    """A tensor ``(N, 3, H, W)`` in [0, 1] as 8-bit images ``(N, H, W, 3)``, clipped and rounded.

    Raises:
        UserError: pixels are NaN, which no 8 bits stand for.
    """
    levels = (images.detach().float().clamp(0, 1) * 255).round()
    if affected := int(levels.isnan().flatten(1).any(dim=1).sum()):
        raise UserError(
            f"{affected} of {len(images)} images have pixels that are NaN, which cannot be stored. "
            "Look for a division by zero in the attack or the defence that made them, and in the "
            "network's gradients."
        )
    levels = levels.to(torch.uint8)
    return np.ascontiguousarray(levels.permute(0, 2, 3, 1).cpu().numpy())


def resize(images: Tensor, side: int) -> Tensor:
    """Images ``(N, 3, H, W)`` at ``(N, 3, side, side)``: bilinear, averaging where they shrink."""
    rows, columns = (
        resizing(length, side, images.dtype, images.device) for length in images.shape[-2:]
    )
    return by_sides(images, rows, columns)


def by_sides(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Map images linearly along each side; the result is channels last.

    The gradient of two matrix products is deterministic on a GPU, too; that of PyTorch's
    antialiased resizing is not.

    Args:
        images: ``(N, 3, H, W)``.
        rows: ``(h, H)``.
        columns: ``(w, W)``.

    Returns:
        ``(N, 3, h, w)``.
    """
    # Products in bfloat16 would move pixels by a level or two.
    with torch.autocast(images.device.type, enabled=False):
        mapped = rows @ images @ columns.T
    return mapped.contiguous(memory_format=torch.channels_last)


@functools.lru_cache
@torch.inference_mode(False)  # the cached matrix serves attacks, too
@torch.no_grad()
def resizing(length: int, new_length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix ``(new_length, length)`` of bilinear resizing, antialiased, along one side."""
    unit = torch.eye(length, dtype=torch.float64, device="cpu")[None, None]
    resized = F.interpolate(unit, (new_length, length), mode="bilinear", antialias=True)
    return resized[0, 0].to(device, dtype)
