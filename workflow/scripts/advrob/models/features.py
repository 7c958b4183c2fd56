"""The features that a network's last layer takes."""

import functools
from typing import Any

from torch import Tensor, nn


def penultimate(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The features that a network's last layer takes, and the logits.

    The last layer is the linear or convolutional one that runs last, whatever its name. Where its
    output is not the logits, by image or by position, there is no such layer: the logits then stand
    for the features, and a line in the log says so.

    Args:
        network: images in [0, 1] to logits.
        images: ``(N, 3, H, W)``.

    Returns:
        Features ``(N, features)``, their mean over the positions if the last layer is a
        convolution, and logits ``(N, classes)``.
    """
    last_call: list[tuple[nn.Module, tuple[Any, ...], Any]] = []

    def record(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        last_call[:] = [(layer, inputs, output)]

    layers = [part for part in network.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    hooks = [layer.register_forward_hook(record) for layer in layers]
    try:
        logits = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    if last_call and _gives(last_call[0][0], last_call[0][2], logits) and len(last_call[0][1]) == 1:
        (features,) = last_call[0][1]
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features, logits
    _say_once(
        f"{type(getattr(network, 'network', network)).__name__} has no last layer whose input "
        "could be called features: its logits are taken."
    )
    return logits, logits


def _gives(layer: nn.Module, output: Tensor, logits: Tensor) -> bool:
    """Whether a layer's output can be the logits, before pooling if it is a convolution.

    It may have classes that the logits lack, one for background.
    """
    dimensions = 2 if isinstance(layer, nn.Linear) else 4
    return output.ndim == dimensions and output.shape[1] >= logits.shape[1]


@functools.cache
def _say_once(line: str) -> None:
    print(line)
