"""From a file's bytes to 8-bit RGB crops of one size."""

import contextlib
import io
import math

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from advrob.errors import UserError

SUFFIXES = (".jpeg", ".jpg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")

# The formats of those suffixes. Others are left out, for some of them call foreign programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")

# The short side is resized to `size` over this share before the centre is cut out: 256 for 224.
_CENTRE = 0.875

# A photograph longer than this is no photograph, and resizing its short side needs gigabytes.
_LONGEST = 50

# Random crops are squares of at least this share of the largest square's area.
_SMALLEST = 0.5


def is_image(name: str) -> bool:
    """Whether a file's name or path is that of an image; hidden files are none."""
    return name.lower().endswith(SUFFIXES) and not name.rpartition("/")[2].startswith(".")


def decode(data: bytes, name: str) -> Image.Image:
    """Decode one photograph, of any mode and upright, to RGB.

    What is transparent is shown on white, 16-bit grey is scaled to 8 bits, and of an animation the
    first frame is taken.

    Args:
        data: the file's bytes.
        name: how to call the photograph in an error.

    Raises:
        UserError: the bytes are empty, truncated, no image, of an unsupported mode, or of more
            pixels than Pillow takes for a decompression bomb (179 million).
    """
    try:
        if not data:
            raise ValueError("the file is empty")
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            image.load()
            width, height = image.size
            if max(width, height) > _LONGEST * min(width, height):
                raise ValueError(f"its sides are {width} x {height}")
            return _rgb(_upright(image))
    except Exception as error:  # Pillow's readers raise whatever their parsing trips over
        reason = (
            "it is not an image"
            if isinstance(error, UnidentifiedImageError)
            else str(error).strip()
        )
        raise UserError(
            f"{name}: cannot be decoded ({reason or type(error).__name__}; {len(data)} bytes). "
            "Expected a whole JPEG, PNG, WebP, BMP, TIFF or GIF. Replace the file, or leave such "
            "files out with images.broken: skip."
        ) from error


def _upright(image: Image.Image) -> Image.Image:
    # Metadata that cannot be parsed tells no orientation, and is no reason to lose the pixels.
    with contextlib.suppress(Exception):
        return ImageOps.exif_transpose(image)
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no agreed range: save it with 8 bits")
    if image.mode.startswith("I;16"):
        levels = np.asarray(image).astype(np.float32) / 257
        image = Image.fromarray(levels.round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def centre_crop(image: Image.Image, size: int) -> np.ndarray:
    """The standard evaluation crop: short side to ``size / 0.875``, then the centre.

    Antialiased bilinear resizing, with the roundings of torchvision's ``Resize`` and
    ``CenterCrop``. An image that already is of this size is kept as it is, as published subsets
    come.

    Args:
        image: RGB.
        size: side of the crop.

    Returns:
        ``(size, size, 3)``, uint8.
    """
    if image.size != (size, size):
        short, target = min(image.size), round(size / _CENTRE)
        width, height = (target * side // short for side in image.size)
        left, top = round((width - size) / 2), round((height - size) / 2)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        image = image.crop((left, top, left + size, top + size))
    return np.asarray(image)


def random_crop(image: Image.Image, size: int, generator: torch.Generator) -> np.ndarray:
    """A random square of half to all of the largest square's area, flipped half of the time.

    Args:
        image: RGB.
        size: side that the square is resized to.
        generator: source of side, place and flip.

    Returns:
        ``(size, size, 3)``, uint8.
    """
    area, x, y, flip = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    side = round(math.sqrt(_SMALLEST + (1 - _SMALLEST) * area) * min(image.size))
    left, top = int(x * (image.width - side + 1)), int(y * (image.height - side + 1))
    image = image.resize(
        (size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
    )
    return np.asarray(ImageOps.mirror(image) if flip < 0.5 else image)
