"""A universal perturbation on stored images; without PyTorch, which takes a second to import."""

import numpy as np


def apply(images: np.ndarray, perturbation: np.ndarray) -> np.ndarray:
    """Add a perturbation to 8-bit images; the result is clipped and rounded to 8 bits.

    Args:
        images: uint8 ``(N, H, W, 3)``.
        perturbation: float32 ``(H, W, 3)`` in units of 1/255.
    """
    return np.clip(images + perturbation, 0, 255).round().astype(np.uint8)
