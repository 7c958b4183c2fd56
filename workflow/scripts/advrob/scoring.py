"""What networks make of images: predictions and confidences, in float32."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from advrob.defences import Images
from advrob.job import progress
from advrob.pixels import to_tensor


@torch.inference_mode()
def predict(
    networks: Sequence[nn.Module], images: Images, *, batch_size: int, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """The class that each network predicts for each image, and its confidence.

    Args:
        networks: maps from images in [0, 1] to logits ``(N, classes)``.
        images: 8-bit images ``(N, H, W, 3)``, read once, in slices of ``batch_size``.
        batch_size: images at a time.
        device: where the networks are.

    Returns:
        Predicted classes, int64 ``(networks, N)``, and their softmax probabilities, float32.
    """
    predicted = np.empty((len(networks), len(images)), np.int64)
    confidence = np.empty((len(networks), len(images)), np.float32)
    starts = range(0, len(images), batch_size)
    for start in progress(starts, "batches scored", len(starts)):
        part = slice(start, start + batch_size)
        batch = to_tensor(images[part], device)
        for row, network in enumerate(networks):
            highest = network(batch).softmax(dim=1).max(dim=1)
            predicted[row, part] = highest.indices.cpu().numpy()
            confidence[row, part] = highest.values.cpu().numpy()
    return predicted, confidence
