"""Between stored 8-bit images and the tensors that networks see."""

import numpy as np
import torch
from torch import Tensor


def to_tensor(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """8-bit images ``(N, H, W, 3)`` as a float tensor ``(N, 3, H, W)`` in [0, 1], channels last."""
    # The stored layout already is channels-last memory: permuting moves no data.
    return (
        torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float() / 255
    )


def quantise(images: Tensor) -> Tensor:
    """Clip to [0, 1] and round to the nearest of 256 levels; what storing as 8 bits leaves."""
    return (images.float().clamp(0, 1) * 255).round() / 255


def to_uint8(images: Tensor) -> np.ndarray:
    """A tensor ``(N, 3, H, W)`` in [0, 1] as 8-bit images ``(N, H, W, 3)``, clipped and rounded."""
    levels = (images.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(levels.permute(0, 2, 3, 1).cpu().numpy())
