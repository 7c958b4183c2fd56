"""From a file's bytes to 8-bit RGB crops of one size."""

import contextlib
import io
import math
import threading
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from advrob.errors import UserError
from advrob.images.photographs import BrokenError

# The formats that the suffixes of photographs stand for. Others are left out: some of them call
# external programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")

# The most bytes of a PNG's unpacked text and colour profile, in one chunk and in all. Pillow's
# limits are 1 and 64 MiB, which image generators that store their prompts there exceed.
PngImagePlugin.MAX_TEXT_CHUNK = 2**26
PngImagePlugin.MAX_TEXT_MEMORY = 2**28

# The short side is resized to `size` over this share before the centre is cut out: 256 for 224.
_CENTRE = 0.875

# A photograph longer than this is no photograph, and resizing its short side needs gigabytes.
_LONGEST = 50

# Random crops are squares of at least this share of the largest square's area.
_SMALLEST = 0.5

# Rows that are converted to RGB at a time.
_BAND = 256

# Bytes of memory for each pixel while a photograph is decoded, and for everything else.
_PER_PIXEL, _OVERHEAD = 8, 2**25

# Photographs of more pixels are decoded one after the other: each needs gigabytes.
_LARGE = 16 * 10**6
_large_lock = threading.Lock()


@contextlib.contextmanager
def large_photograph_lock(data: bytes) -> Iterator[None]:
    """With a photograph of very many pixels, wait until no other such one is in memory."""
    large = False
    with contextlib.suppress(Exception), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        large = math.prod(image.size) > _LARGE
    with _large_lock if large else contextlib.nullcontext():
        yield


def decode(data: bytes, name: str) -> Image.Image:
    """Decode one photograph, of any mode and upright, to RGB.

    What is transparent is shown on white, 16-bit grey is scaled to 8 bits, and of an animation the
    first frame is taken.

    Args:
        data: the file's bytes.
        name: how to call the photograph in an error.

    Raises:
        BrokenError: the bytes are empty, truncated, no image, or of an unsupported mode.
        UserError: they have more pixels than Pillow takes for a decompression bomb (179 million).
        MemoryError: there is no room for its pixels, which says nothing about the photograph.
    """
    pixels = 0
    try:
        if not data:
            raise ValueError("the file is empty")
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        width, height = image.size
        if max(width, height) > _LONGEST * min(width, height):
            raise ValueError(f"its sides are {width} x {height}")
        pixels = width * height
        image.load()
        # Metadata that cannot be parsed has no orientation, and is no reason to lose the pixels.
        with contextlib.suppress(Exception):
            ImageOps.exif_transpose(image, in_place=True)
        return _rgb(image)
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{name}: is too large to be decoded ({error}). Expected a photograph of at most "
            f"{2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels. Save it smaller, or remove it."
        ) from error
    except Exception as error:  # Pillow's readers raise whatever their parsing trips over
        # Some of them call data broken when they lacked the memory to unpack it.
        np.empty(_PER_PIXEL * pixels + len(data) + _OVERHEAD, np.uint8)
        reason = (
            "it is not an image"
            if isinstance(error, UnidentifiedImageError)
            else str(error).strip()
        )
        raise BrokenError(
            f"{name}: cannot be decoded ({reason or type(error).__name__}; {len(data)} bytes). "
            "Expected a whole JPEG, PNG, WebP, BMP, TIFF or GIF. Replace the file, or leave such "
            "files out with images.broken: skip."
        ) from error


def _rgb(image: Image.Image) -> Image.Image:
    """All pixels as RGB, converted in bands: no copy of the whole image but the result is made."""
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no agreed range: save it with 8 bits")
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    converted = Image.new("RGB", image.size)
    for top in range(0, image.height, _BAND):
        box = (0, top, image.width, min(top + _BAND, image.height))
        converted.paste(_rgb_band(image.crop(box)), box)
    return converted


def _rgb_band(image: Image.Image) -> Image.Image:
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
    ``CenterCrop``. An image that already is of this size is kept as it is: published subsets
    come so.

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
        generator: source of side, position and flip.

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
