"""Linear algebra on image collections that do not fit in memory as floats.

Images are stored 8-bit ``(n, H, W, 3)``; here each is one row of ``d = 3 H W`` numbers in
that order, which is also the order in memory of a channels-last batch ``(N, 3, H, W)``.
"""

import functools
from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from advrob.errors import UserError
from advrob.files.rows import Images
from advrob.job.progress import progress

# Bytes that one of these functions holds of images or of a result at a time. It does not depend on
# the job's memory: sums over other blocks would be rounded differently.
BUDGET = 2 * 2**30
# Images to a tile of the Gram matrix: large enough for full speed, small enough that there are few
# diagonal tiles, half of which is computed for nothing.
TILE = 1024


def integer_products(device: torch.device) -> bool:
    """Whether the device multiplies 8-bit integers into exact 32-bit sums, and fast.

    Without VNNI instructions 8-bit products on a CPU saturate at 16 bits; a GPU restricts the
    matrices' shapes and has float32 to spare.
    """
    return device.type == "cpu" and torch.cpu._is_vnni_supported()


def gram(images: Images, device: torch.device) -> Tensor:
    """Inner products of all pairs of images after their mean is subtracted.

    The sums of products are exact integers: levels less 128 fit 8 bits, and centring removes the
    shift again. Only tiles on and above the diagonal are computed.

    Args:
        images: 8-bit images ``(n, H, W, 3)``; read once if they fit `BUDGET`.
        device: where to compute.

    Returns:
        ``(n, n)`` float64, in squared levels of 255, on ``device``.
    """
    n, d = len(images), int(np.prod(images.shape[1:]))

    @functools.lru_cache(max(2, BUDGET // (TILE * d)))
    def tile(start: int) -> Tensor:
        levels = torch.from_numpy(images[start : start + TILE]).to(device).flatten(1)
        return (levels ^ 128).view(torch.int8)  # flipping the top bit subtracts 128

    products = _integer_products if integer_products(device) else _float_products
    result = torch.empty(n, n, dtype=torch.float64, device=device)
    pairs = list(combinations_with_replacement(range(0, n, TILE), 2))
    for i, j in progress(pairs, "tiles of the Gram matrix", len(pairs)):
        block = products(tile(i), tile(j))
        result[i : i + TILE, j : j + TILE] = block
        result[j : j + TILE, i : i + TILE] = block.T
    means = result.mean(dim=0)
    return result.sub_(means).sub_(means[:, None]).add_(means.mean())


def _integer_products(a: Tensor, b: Tensor) -> Tensor:
    # |x| <= 2^7, so 2^16 products sum to at most 2^30: no overflow of 32 bits.
    return _blocked(a, b, 2**16, lambda a, b: torch._int_mm(a, b.T))


def _float_products(a: Tensor, b: Tensor) -> Tensor:
    # float32 holds every integer up to 2^24, the sum of 2^10 products: exact in any order.
    return _blocked(a, b, 2**10, lambda a, b: a.float() @ b.float().T)


def _blocked(
    a: Tensor, b: Tensor, features: int, products: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    total = torch.zeros(len(a), len(b), dtype=torch.float64, device=a.device)
    for start in range(0, a.shape[1], features):
        block = slice(start, start + features)
        total += products(a[:, block], b[:, block])
    return total


def inner_products(rows: Tensor) -> Tensor:
    """Inner products ``(m, m)`` of the rows of ``(m, d)``, in float64, some columns at a time."""
    products = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for columns in rows.split(TILE, dim=1):
        wide = columns.double()
        products.addmm_(wide, wide.T)
    return products


def batches(images: Images, device: torch.device) -> Iterator[tuple[int, Tensor]]:
    """Batches of images as float32 rows ``(b, d)`` in [0, 1], each with its first row's number."""
    d = int(np.prod(images.shape[1:]))
    size = max(1, BUDGET // (16 * d))  # float32 copies of a quarter of the budget
    starts = range(0, len(images), size)
    for start in progress(starts, "blocks of images read", len(starts)):
        levels = torch.from_numpy(images[start : start + size]).to(device)
        yield start, levels.flatten(1).float().div_(255)


def mean(images: Images, device: torch.device) -> Tensor:
    """The mean image, ``(d,)`` float32 in [0, 1]."""
    total = sum(batch.sum(dim=0).double() for _, batch in batches(images, device))
    return torch.as_tensor(total / len(images)).float()


def combine(coefficients: Tensor, images: Images, centre: Tensor) -> Iterator[Tensor]:
    """Linear combinations of centred images, in blocks of rows that fit `BUDGET`.

    Args:
        coefficients: ``(k, n)`` float32, on the device that computes.
        images: 8-bit images ``(n, H, W, 3)``, read once a block.
        centre: ``(d,)`` float32 in [0, 1], subtracted from every image. Coefficients that sum to 0
            remove it anyway, but rounding is relative to what is summed.

    Yields:
        Consecutive rows of the product ``(k, d)``, float32.
    """
    rows = max(1, BUDGET // (4 * len(centre)))
    for block in coefficients.split(rows):
        total = torch.zeros(len(block), len(centre), device=coefficients.device)
        for start, batch in batches(images, coefficients.device):
            total.addmm_(block[:, start : start + len(batch)], batch.sub_(centre))
        yield total


def flatten(images: Tensor) -> Tensor:
    """Images ``(N, 3, H, W)`` as rows ``(N, d)`` in stored order; no copy of channels-last ones."""
    return images.permute(0, 2, 3, 1).flatten(1)


def project(images: Tensor, centre: Tensor, basis: Tensor, defence: str) -> Tensor:
    """``c + B^T B (x - c)`` of images x, in stored order.

    Args:
        images: ``(N, 3, H, W)``.
        centre: c, ``(d,)``.
        basis: B, ``(k, d)``.
        defence: its kind, for the message.

    Raises:
        UserError: the images are not of the size that the defence was fitted to.
    """
    _, channels, height, width = images.shape
    rows = flatten(images)
    if rows.shape[1] != len(centre):
        raise UserError(
            f"{defence}: found images of {width} x {height} pixels, {rows.shape[1]} numbers, "
            f"expected {len(centre)} numbers as in the images to fit. Fit it again on images of "
            "the test images' size."
        )
    rows = centre + functional.linear(rows - centre, basis) @ basis
    return rows.unflatten(1, (height, width, channels)).permute(0, 3, 1, 2)


class Matrix(nn.Module):
    """A constant matrix that keeps a low-precision copy of itself once autocast asks for one.

    Autocast alone would convert the whole matrix anew in every pass.
    """

    full: Tensor
    low: Tensor | None

    def __init__(self, full: Tensor):
        super().__init__()
        self.register_buffer("full", full)
        self.register_buffer("low", None)

    def forward(self) -> Tensor:
        """The matrix in the precision in which the surrounding code multiplies."""
        device = self.full.device.type
        if not torch.is_autocast_enabled(device):
            return self.full
        if self.low is None:
            # Made in inference mode, the copy could never take part in a later gradient.
            with torch.inference_mode(False):
                self.low = self.full.to(torch.get_autocast_dtype(device))
        return self.low


def read_matrix(dataset: h5py.Dataset) -> Tensor:
    """A stored array as a float32 tensor, read straight into its memory."""
    values = torch.empty(dataset.shape)
    dataset.read_direct(values.numpy())
    return values
