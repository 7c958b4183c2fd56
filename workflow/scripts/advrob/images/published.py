"""Universal perturbations as their authors publish them: MATLAB and NumPy files."""

from pathlib import Path

import numpy as np
from scipy.io import loadmat

from advrob.errors import UserError


def read(
    path: str | Path, *, size: int, norm: str, radius: float, key: str, pixels: str = "0..255"
) -> np.ndarray:
    """A perturbation to be added to RGB images in 0..255.

    Args:
        path: a ``.mat`` file with one numeric array, or a ``.npy`` file, of shape ``(size, size,
            3)`` or ``(3, size, size)``; axes of length 1 before these are dropped.
        size: the side of the images that it is made for, in pixels.
        norm: ``linf`` or ``l2``.
        radius: the bound that its authors give for its norm, in units of 1/255.
        key: the configuration key to name in messages.
        pixels: the range of the pixels that it is to be added to, such as ``-1..1``.

    Returns:
        float32 ``(size, size, 3)``.

    Raises:
        UserError: the file cannot be read, or does not hold such a perturbation.
    """
    path = Path(path)
    try:
        if path.suffix == ".mat":
            arrays = [v for k, v in loadmat(path).items() if not k.startswith("__")]
        else:
            arrays = [np.load(path, allow_pickle=False)]
    except Exception as error:  # SciPy's reader raises whatever its parsing trips over
        raise UserError(
            f"{key}.file: {path} cannot be read ({error}). Expected a MATLAB (.mat, up to version "
            "7.2) or NumPy (.npy) file with one array."
        ) from error
    if len(arrays) != 1:
        raise UserError(f"{key}.file: {path} holds {len(arrays)} arrays, expected exactly one.")
    array = np.asarray(arrays[0]).squeeze()
    if array.dtype.kind not in "fiu":
        raise UserError(
            f"{key}.file: {path} holds values of type {array.dtype}, expected real numbers."
        )
    if array.shape == (3, size, size):
        array = array.transpose(1, 2, 0)
    if array.shape != (size, size, 3):
        raise UserError(
            f"{key}.file: {path} holds an array of shape {array.shape}, expected "
            f"({size}, {size}, 3): height, width, RGB, for images of {size} x {size} pixels, or "
            f"(3, {size}, {size}). Of several perturbations, save one by itself."
        )
    low, high = map(float, pixels.split(".."))
    values = (array * (255 / (high - low))).astype(np.float32)
    if not np.isfinite(values).all():
        raise UserError(f"{key}.file: {path} holds NaN or infinite values, expected numbers.")
    magnitude = float(np.abs(values).max() if norm == "linf" else np.linalg.norm(values))
    # Published files keep their bound up to the rounding of single precision.
    if magnitude > radius * (1 + 1e-3):
        raise UserError(
            f"{key}.radius: the {norm} norm of {path} is {magnitude:.4g}/255, more than the "
            f"{radius} that is configured. Correct norm or radius."
        )
    if magnitude == 0:
        raise UserError(
            f"{key}.file: {path} holds nothing but zeros, which change no image. Name another file."
        )
    if magnitude < 1.5 <= radius:
        raise UserError(
            f"{key}.file: the {norm} norm of {path} is {magnitude:.4g}, expected about {radius}. "
            f"Its values seem to be for pixels in 0..1: set {key}.pixels to 0..1, or to -1..1."
        )
    return values
