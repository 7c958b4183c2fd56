"""Predictions and confidences of networks, in float32."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from advrob.errors import UserError
from advrob.files.rows import Images
from advrob.images.pixels import to_tensor
from advrob.job.progress import progress


class NotFiniteError(UserError):
    """A network's logits are not finite."""


def decided(logits: Tensor) -> Tensor:
    """The predicted classes, int64 ``(N,)``, of logits ``(N, classes)``.

    Raises:
        NotFiniteError: logits are not finite: NaN would count as the class with the largest one.
    """
    finite = logits.isfinite().all(dim=1)
    if not finite.all():
        raise NotFiniteError(
            f"the network: its logits are not finite (NaN or infinity) for {int((~finite).sum())} "
            f"of {len(logits)} images, so they predict no class. Check its weights, its training "
            "and its defence."
        )
    return logits.argmax(dim=1)


@torch.no_grad()
def predict(
    networks: Sequence[nn.Module],
    images: Images,
    *,
    batch_size: int,
    device: torch.device,
    part: slice | None = None,
    reseed: Callable[[int], None] = lambda start: None,
    name: str = "The network",
) -> tuple[np.ndarray, np.ndarray]:
    """The class that each network predicts for each image, and its confidence.

    Args:
        networks: maps from images in [0, 1] to logits ``(N, classes)``.
        images: 8-bit images ``(n, H, W, 3)``, read once, in slices of ``batch_size``.
        batch_size: images at a time.
        device: where the networks are.
        part: the N images to predict, from the start of a batch; all by default.
        reseed: called before each batch with the number of its first image, to give stochastic
            defences a generator of that batch's own: what they draw then does not depend on how the
            batches are shared out.

    Returns:
        Predicted classes, int64 ``(networks, N)``, and their softmax probabilities, float32.

    Raises:
        NotFiniteError: logits are not finite.
    """
    rows = range(len(images))[part or slice(None)]
    predicted = np.empty((len(networks), len(rows)), np.int64)
    confidence = np.empty((len(networks), len(rows)), np.float32)
    starts = rows[::batch_size]
    for start in progress(starts, "batches scored", len(starts)):
        end = min(start + batch_size, rows.stop)
        columns = slice(start - rows.start, end - rows.start)
        reseed(start)
        batch = to_tensor(images[start:end], device)
        for row, network in enumerate(networks):
            logits = network(batch)
            if not (finite := logits.isfinite().all(dim=1)).all():
                bad = start + int((~finite).nonzero()[0])
                raise NotFiniteError(
                    f"{name}: the logits of image {bad} (counted from 0) are not finite (NaN or "
                    "infinity), so they cannot be scored. Check the network's weights, its "
                    "training and its defence."
                )
            highest = logits.softmax(dim=1).max(dim=1)
            predicted[row, columns] = highest.indices.cpu().numpy()
            confidence[row, columns] = highest.values.cpu().numpy()
    return predicted, confidence
