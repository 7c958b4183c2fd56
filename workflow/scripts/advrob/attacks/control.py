"""Controls: random changes as large as an attack's, which an attack must beat."""

from collections.abc import Callable

import numpy as np

# Takes the changes of 8-bit images, whole numbers (N, H, W, 3), and a random generator.
Control = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def signs(moves: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw the sign of every number anew: all norms stay."""
    return np.abs(moves) * (1 - 2 * generator.integers(2, size=moves.shape, dtype=moves.dtype))


def shuffled(moves: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Shuffle the pixels, in the same way for all images: norms and colours stay."""
    n, height, width, channels = moves.shape
    order = generator.permutation(height * width)
    return moves.reshape(n, -1, channels)[:, order].reshape(moves.shape)


def controlled(
    originals: np.ndarray, attacked: np.ndarray, control: Control, generator: np.random.Generator
) -> np.ndarray:
    """Change images by a control in place of the attack's own change, clipped to 0..255.

    Args:
        originals: 8-bit images ``(N, H, W, 3)``.
        attacked: the same after the attack.
        control: turns the attack's changes into others.
        generator: what it draws from.
    """
    moves = attacked.astype(np.int16) - originals
    return (originals + control(moves, generator)).clip(0, 255).astype(np.uint8)


CONTROLS: dict[str, Control] = {"signs": signs, "shuffled": shuffled}
