"""What a network makes of images: predictions and confidences, in float32."""

import numpy as np
import torch
from torch import nn

from advrob.defences import Images
from advrob.job import progress
from advrob.pixels import to_tensor


@torch.inference_mode()
def predict(
    network: nn.Module, images: Images, *, batch_size: int, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """The class that a network predicts for each image, and its confidence.

    Args:
        network: images in [0, 1] to logits ``(N, classes)``.
        images: 8-bit images ``(N, H, W, 3)``, read in slices of ``batch_size``.
        batch_size: images at a time.
        device: where ``network`` is.

    Returns:
        Predicted classes, int64 ``(N,)``, and the softmax probabilities of these, float32 ``(N,)``.
    """
    predicted = np.empty(len(images), np.int64)
    confidence = np.empty(len(images), np.float32)
    starts = range(0, len(images), batch_size)
    for start in progress(starts, "batches scored", len(starts)):
        part = slice(start, start + batch_size)
        highest = network(to_tensor(images[part], device)).softmax(dim=1).max(dim=1)
        predicted[part] = highest.indices.cpu().numpy()
        confidence[part] = highest.values.cpu().numpy()
    return predicted, confidence
