"""What networks output: how logits are taken from it, and whether they can be scored."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from advrob.errors import UserError

if TYPE_CHECKING:
    from advrob.models import Model

# Classes of ImageNet-1k, and of networks with a first class more, for background.
CLASSES, WITH_BACKGROUND = 1000, 1001


def logits_of(answer: Any) -> Tensor:
    """The logits: a tensor itself, ``logits`` of an object or mapping, or the first of a tuple.

    Raises:
        UserError: there are none.
    """
    if isinstance(answer, Tensor):
        return answer
    logits = getattr(answer, "logits", None)
    if logits is None and isinstance(answer, Mapping):
        logits = answer.get("logits")
    if logits is None and isinstance(answer, tuple | list) and answer:
        logits = answer[0]
    if not isinstance(logits, Tensor):
        raise UserError(
            f"The network returns an object of type {type(answer).__name__} without logits. "
            "Expected a tensor of logits (N, classes), an object with .logits, or a tuple that "
            "begins with them; wrap the network in a function of your own (kind: import)."
        )
    return logits


def check_answers(model: "Model", classes: int, images: Tensor, *, name: str) -> None:
    """Run a network on a few images, and refuse outputs that cannot be scored.

    What is unusual but can be scored is reported: a tuple, an object with logits, a class for
    background.

    Args:
        model: as `advrob.models.build` gives it.
        classes: how many classes the labels need, one more than the highest label.
        images: ``(N, 3, H, W)`` in [0, 1].
        name: of the model in the configuration, for messages.

    Raises:
        UserError: it fails on such images, or does not give finite logits ``(N, k)`` with
            k at least ``classes``, and at most as many as ImageNet has or the labels need.
    """
    key = f"models.{name}"
    with torch.no_grad():
        try:
            answer = model.answer(images)
            outputs = logits_of(answer)
        except UserError as error:
            raise UserError(f"{key}: {error}") from error
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"{key}: the network fails on {len(images)} images of {images.shape[-1]} x "
                f"{images.shape[-2]} pixels ({type(error).__name__}: {reason}). Expected logits; "
                f"correct {key}.size, its arguments or its code."
            ) from error
        _check_shape(key, outputs, len(images))
        logits = model.logits(outputs)
    if logits.shape[1] == 0:
        raise UserError(
            f"{key}.offset: is {model.offset}, but the network returns {outputs.shape[1]} numbers "
            "per image, so no class is left. Lower it, or remove it."
        )
    _check_finite(key, logits, model.network)
    _check_width(key, logits.shape[1], classes, model.network)
    if not isinstance(answer, Tensor):
        print(f"{key}: the network gives {type(answer).__name__}; its logits are taken.")
    if logits.shape[1] < outputs.shape[1]:
        print(
            f"{key}: the network answers {outputs.shape[1]} classes; the first "
            f"{outputs.shape[1] - logits.shape[1]} is left out, as background. If it is a class of "
            f"its own, set {key}.offset to 0."
        )
    if ((logits >= 0).all() & ((logits.sum(dim=1) - 1).abs() < 1e-4).all()).item():
        print(
            f"{key}: the network's answers look like probabilities. Attacks work on logits, and "
            "softmax inside hides gradients from them: give the network without its softmax."
        )


def _check_shape(key: str, outputs: Tensor, count: int) -> None:
    if outputs.ndim != 2 or len(outputs) != count or not outputs.is_floating_point():
        raise UserError(
            f"{key}: for {count} images the network returns a tensor of shape "
            f"{tuple(outputs.shape)} and type {str(outputs.dtype).removeprefix('torch.')}. "
            f"Expected logits ({count}, classes) in floating point; if these are features, the "
            "network lacks its last layer."
        )


def _check_finite(key: str, logits: Tensor, network: nn.Module) -> None:
    affected = int((~logits.isfinite()).any(dim=1).sum())
    if not affected:
        return
    broken = [n for n, value in network.state_dict().items() if not value.isfinite().all()]
    cause = f"so is its tensor {broken[0]}" if broken else "its weights are finite"
    raise UserError(
        f"{key}: for {affected} of {len(logits)} images the network's logits are not finite (NaN "
        f"or infinity); {cause}. Give intact weights, or correct its normalisation or code."
    )


def _check_width(key: str, width: int, classes: int, network: nn.Module) -> None:
    limit = max(classes, CLASSES)
    if classes <= width <= limit and getattr(network, "num_classes", width) != 0:
        return
    expected = f"{classes} to {limit}" if classes < limit else f"{classes}"
    raise UserError(
        f"{key}: the network returns {width} numbers per image, but the labels need {classes} "
        f"classes. Expected {expected}, in the labels' order. If the numbers are features, the "
        f"network lacks its last layer (num_classes in {key}.arguments); if it knows other "
        f"classes, label the photographs by them, from 0 to {width - 1}."
    )
