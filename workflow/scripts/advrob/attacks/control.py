"""What a perturbation must beat: changes of the same size that no network had a hand in."""

from collections.abc import Callable

import numpy as np

# Of 8-bit images' changes (N, H, W, 3), whole numbers, with a random generator.
Control = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def signs(moves: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Every number with a sign drawn anew: all norms stay."""
    return np.abs(moves) * (1 - 2 * generator.integers(2, size=moves.shape, dtype=moves.dtype))


def shuffled(moves: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The pixels in random places, the same for all images: norms and colours stay."""
    n, height, width, channels = moves.shape
    order = generator.permutation(height * width)
    return moves.reshape(n, -1, channels)[:, order].reshape(moves.shape)


def controlled(
    originals: np.ndarray, attacked: np.ndarray, control: Control, generator: np.random.Generator
) -> np.ndarray:
    """Images changed by a control of what an attack did to them, clipped to 0..255.

    Args:
        originals: 8-bit images ``(N, H, W, 3)``.
        attacked: the same after the attack.
        control: makes other changes of the attack's.
        generator: what it draws from.
    """
    moves = attacked.astype(np.int16) - originals
    return (originals + control(moves, generator)).clip(0, 255).astype(np.uint8)


CONTROLS: dict[str, Control] = {"signs": signs, "shuffled": shuffled}
