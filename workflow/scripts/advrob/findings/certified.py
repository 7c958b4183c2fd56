"""How far a smoothed network's predictions are proven to hold, and how far they are seen to.

Radii are l_2, in units of 1/255. A certificate holds with 99.9 % confidence, for an image by
itself; an abstention is wrong at every radius.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from advrob.findings import metrics
from advrob.findings.metrics import Accuracy

# Certified accuracy of ResNet-50 on ImageNet at l_2 radii of 0.25, 0.5, 0.75 and 1 of the range of
# a pixel: Salman, Sun, Yang, Kapoor and Kolter 2020, "Denoised Smoothing", table 1. Name, radius
# and accuracy.
PUBLISHED = [
    (f"ResNet-50, {name} (Salman et al. 2020)", 255 * radius, accuracy)
    for name, accuracies in {
        "no denoiser": (0.32, 0.04, 0.02, 0.0),
        "black-box denoiser": (0.48, 0.31, 0.19, 0.12),
        "white-box denoiser": (0.50, 0.33, 0.20, 0.14),
    }.items()
    for radius, accuracy in zip((0.25, 0.5, 0.75, 1.0), accuracies, strict=True)
]


@dataclass(frozen=True)
class Row:
    """A network under noise of one strength, at one radius.

    Attributes:
        sigma: standard deviation of the noise.
        radius: the radius.
        certified: the share of images that are right and certified to it.
        attacked: the share that an attack within it leaves right; None where none was made.
    """

    sigma: float
    radius: float
    certified: Accuracy
    attacked: Accuracy | None


def rows(
    arrays: Mapping[str, np.ndarray], ids: Sequence[str], radii: Sequence[float]
) -> Iterator[Row]:
    """Certified and empirical accuracy side by side, of one network.

    Args:
        arrays: of a file of certificates: ``sigmas`` (s,), ``predicted`` and ``radius`` (s, n),
            ``labels`` (n,); and, where the smoothed network was attacked, ``attacked`` bool
            (s, r, n), which images held within each of ``attack_radii`` (r,).
        ids: of the images.
        radii: of the table.
    """
    columns = {float(each): column for column, each in enumerate(arrays.get("attack_radii", ()))}
    for row, sigma in enumerate(arrays["sigmas"].tolist()):
        correct = arrays["predicted"][row] == arrays["labels"]
        for radius in map(float, radii):
            attacked = None
            if radius in columns:
                attacked = metrics.accuracy(arrays["attacked"][row, columns[radius]], ids)
            certified = metrics.accuracy(correct & (arrays["radius"][row] >= radius), ids)
            yield Row(sigma, radius, certified, attacked)
