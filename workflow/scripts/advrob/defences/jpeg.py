"""JPEG compression and back."""

import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from advrob.defences import Defence, straight_through
from advrob.errors import UserError

# Example quantisation tables for luminance and chrominance, which libjpeg scales by the quality
# (ITU-T T.81, annex K, tables K.1 and K.2).
LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    *(17, 18, 24, 47, 99, 99, 99, 99),
    *(18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
# RGB to luminance and two differences of colour, and back (ITU-T T.871, section 7).
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


class JPEG(Defence):
    """JPEG compression (Dziugaite et al. 2016; Das et al. 2017).

    As libjpeg and Pillow do by default: colour at half the resolution (4:2:0), enlarged again with
    a triangle filter. Entropy coding loses nothing and is left out. Rounding is real in the forward
    pass, and left out in the backward pass; everything else has its own gradient.

    Args:
        quality: quality as in libjpeg, from 1 to 100.

    Raises:
        UserError: the quality is out of range.
    """

    basis: Tensor
    luminance: Tensor
    chrominance: Tensor
    to_ycc: Tensor
    to_rgb: Tensor

    def __init__(self, *, quality: Annotated[int, {"minimum": 1, "maximum": 100}] = 75) -> None:
        super().__init__()
        if quality not in range(1, 101):
            raise UserError(
                f"jpeg: quality is {quality}, expected a whole number from 1 to 100. Set it to 75, "
                "for example."
            )
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        for name, table in (("luminance", LUMINANCE), ("chrominance", CHROMINANCE)):
            steps = [min(max((step * scale + 50) // 100, 1), 255) for step in table]
            self.register_buffer(name, torch.tensor(steps, dtype=torch.float32)[:, None, None])
        self.register_buffer("basis", _cosines())
        self.register_buffer("to_ycc", torch.tensor(TO_YCC))
        self.register_buffer("to_rgb", torch.tensor(TO_RGB))

    def forward(self, images: Tensor) -> Tensor:
        """Compress and decompress images ``(N, 3, H, W)``."""
        # Products in bfloat16 would round to other levels.
        with torch.autocast(images.device.type, enabled=False):
            levels = _rounded(255 * images.to(self.basis).clamp(0, 1))
            return (self._compress(levels) / 255).to(images.dtype)

    def _compress(self, levels: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)`` in 0..255; inside, planes are ``(C, N, H, W)``."""
        height, width = levels.shape[2:]
        planes = _rounded(torch.tensordot(self.to_ycc, levels.transpose(0, 1), 1))
        # To whole blocks of colour in width; downwards libjpeg repeats rows after halving them.
        planes = F.pad(planes, (0, -width % 16, 0, height % 2), mode="replicate")
        brightness = self._quantise(planes[:1] - 128, self.luminance)[..., :height, :width]
        colour = F.avg_pool2d(planes[1:], 2)
        # libjpeg rounds halves down and up by turns.
        turns = (1 + torch.arange(colour.shape[-1], device=colour.device) % 2) / 4
        colour = straight_through((colour + turns).floor(), colour)
        colour = self._quantise(colour, self.chrominance)
        colour = colour[..., : math.ceil(height / 2), : math.ceil(width / 2)]
        colour = F.interpolate(colour, scale_factor=2, mode="bilinear")[..., :height, :width]
        planes = torch.cat((brightness + 128, _rounded(colour)))
        rebuilt = _rounded(torch.tensordot(self.to_rgb, planes, 1))
        return rebuilt.clamp(0, 255).transpose(0, 1)

    def _quantise(self, planes: Tensor, steps: Tensor) -> Tensor:
        """Round the cosine transform of blocks of 8 x 8; planes are in -128..127."""
        planes = F.pad(planes, (0, 0, 0, -planes.shape[-2] % 8), mode="replicate")
        blocks = F.pixel_unshuffle(planes, 8).unflatten(1, (-1, 64))
        # libjpeg's integer transform gives eighths.
        coefficients = _rounded(8 * torch.einsum("uk,cnkhw->cnuhw", self.basis, blocks)) / 8
        coefficients = _rounded(coefficients / steps) * steps
        blocks = torch.einsum("uk,cnuhw->cnkhw", self.basis, coefficients)
        return _rounded(F.pixel_shuffle(blocks.flatten(1, 2), 8)).clamp(-128, 127)


def _rounded(values: Tensor) -> Tensor:
    """To whole numbers, halves away from 0 as in libjpeg."""
    return straight_through(values.sign() * (values.abs() + 0.5).floor(), values)


def _cosines() -> Tensor:
    """The orthonormal cosine transform of 8 x 8 numbers, row by row: ``(64, 64)``."""
    position = torch.arange(8, dtype=torch.float64)
    rows = torch.cos((2 * position + 1) * position[:, None] * math.pi / 16) / 2
    rows[0] /= math.sqrt(2)
    return torch.kron(rows, rows).float()
