"""How far a smoothed network's predictions are proven to hold, and how far they are seen to.

Radii are l_2, in units of 1/255. A certificate holds with 99.9 % confidence, for an image by
itself; an abstention is wrong at every radius.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from advrob.findings import metrics
from advrob.findings.metrics import Accuracy

CITATION = (
    'Salman et al. (2020), "Denoised smoothing: a provable defense for pretrained classifiers"'
)
# Its Table 1: certified accuracy of a pretrained ResNet-50 on ImageNet at l_2 radii of which 1 is
# the range of a pixel, in units of 1/255 here: without a denoiser; with one that was trained with
# other classifiers in the classifier's place (black box); and with the classifier itself (white
# box). Each is the best over several strengths of noise.
PUBLISHED_RADII = (63.75, 127.5, 191.25, 255.0)
PUBLISHED: Mapping[str, tuple[float, ...]] = {
    "no denoiser": (0.32, 0.04, 0.02, 0.00),
    "black-box denoiser": (0.48, 0.31, 0.19, 0.12),
    "white-box denoiser": (0.50, 0.33, 0.20, 0.14),
}


def certified(
    predicted: np.ndarray, reached: np.ndarray, labels: np.ndarray, radius: float
) -> np.ndarray:
    """Which images are right and certified to a radius, bool ``(N,)``.

    Args:
        predicted: classes, int64 ``(N,)``, -1 after abstention.
        reached: certified radii ``(N,)``.
        labels: true classes, int64 ``(N,)``.
        radius: the least that counts.
    """
    return (predicted == labels) & (reached >= radius)


def certified_accuracy(
    predicted: np.ndarray, reached: np.ndarray, labels: np.ndarray, radii: Sequence[float]
) -> np.ndarray:
    """Certified accuracy at each of a grid of radii, float64: a falling curve (Cohen et al. 2019).

    The arguments are those of `certified`.
    """
    return np.array([certified(predicted, reached, labels, each).mean() for each in radii])


def steps(
    predicted: np.ndarray, reached: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The whole curve of `certified_accuracy`: the radii at which it falls, and what it is there.

    Between two of these radii it is that of the larger one.
    """
    radii = np.unique(np.concatenate([[0.0], reached[predicted == labels]]))
    return radii, certified_accuracy(predicted, reached, labels, radii.tolist())


@dataclass(frozen=True)
class Row:
    """A network under noise of one strength, at one radius.

    Attributes:
        sigma: standard deviation of the noise.
        radius: the radius.
        certified: the share of images that are right and certified to it.
        attacked: the share that an attack within it leaves right; None where none was made.
        originals: the smoothed network's accuracy without an attack; None where not measured.
        abstained: the share of images without a certificate.
        drawn: mean number of draws that counted, an image.
        seconds: an image's share of the time; None where it was not measured.
    """

    sigma: float
    radius: float
    certified: Accuracy
    attacked: Accuracy | None
    originals: Accuracy | None
    abstained: float
    drawn: float
    seconds: float | None


def rows(
    arrays: Mapping[str, np.ndarray],
    ids: Sequence[str],
    radii: Sequence[float],
    *,
    seconds: float | None = None,
) -> Iterator[Row]:
    """The table of one network: certified and empirical accuracy side by side.

    Args:
        arrays: of a file of certificates: ``sigmas`` (s,), ``predicted``, ``radius`` and ``drawn``
            (s, n), ``labels`` (n,); and, where the smoothed network was attacked, ``attacked``
            bool (s, r, n), which images held within each of ``attack_radii`` (r,).
        ids: of the images.
        radii: of the table.
        seconds: how long the job took, for all images and strengths of noise.
    """
    share = None if seconds is None else seconds / arrays["predicted"].size
    places = {float(each): place for place, each in enumerate(arrays.get("attack_radii", ()))}
    for number, sigma in enumerate(arrays["sigmas"].tolist()):
        predicted, reached = arrays["predicted"][number], arrays["radius"][number]

        def held(radius: float, number: int = number) -> Accuracy | None:
            if radius not in places:
                return None
            return metrics.accuracy(arrays["attacked"][number, places[radius]], ids)

        for radius in map(float, radii):
            right = certified(predicted, reached, arrays["labels"], radius)
            yield Row(
                sigma=sigma,
                radius=radius,
                certified=metrics.accuracy(right, ids),
                attacked=held(radius),
                originals=held(0.0),
                abstained=float((predicted < 0).mean()),
                drawn=float(arrays["drawn"][number].mean()),
                seconds=share,
            )
