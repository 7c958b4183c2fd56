"""Pretrained classifiers by name, as modules on RGB images in [0, 1].

Each has its own input size and normalisation inside, so attacks and defences see plain pixels.

One file a kind of model, named after it, holding one subclass of `ModelKind`. To add one, write
``models/<kind>.py`` with such a class and name it in the configuration. The keyword-only parameters
of its ``__init__`` are its configuration keys, beside those that all kinds have (`COMMON`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from advrob.errors import UserError
from advrob.images import layout, pixels
from advrob.images.layout import Layout
from advrob.learning.weights import load_weights, weight_arrays
from advrob.models import folding
from advrob.models.answers import WITH_BACKGROUND, check_answers, logits_of
from advrob.models.checkpoints import Checkpoint
from advrob.models.features import penultimate
from advrob.plan import kinds
from advrob.plug_ins import load

__all__ = [
    "NORMALISATIONS",
    "Model",
    "ModelKind",
    "build",
    "check_answers",
    "learned",
    "penultimate",
]

# Mean and scale by channel of an input in [0, 1], and whether the channels are in the order BGR.
Normalisation = tuple[tuple[float, ...], tuple[float, ...], bool]
NORMALISATIONS: dict[str, Normalisation] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), False),
    "efficientnet_lite": ((127 / 255,) * 3, (128 / 255,) * 3, False),
    "caffe": ((104 / 255, 117 / 255, 123 / 255), (1 / 255,) * 3, True),
    "none": ((0.0,) * 3, (1.0,) * 3, False),
}
# The logit of a class that a network cannot predict: its probability is 0, but it stays finite for
# attacks.
UNKNOWN = -1e4
# Keys of an entry that `build` reads, whatever the kind.
COMMON = frozenset({"kind", "weights", "key", "sha256", "normalisation", "size", "offset"})


class Model(nn.Module):
    """A classifier on RGB images in [0, 1] of any size.

    Args:
        network: takes normalised images and gives logits.
        normalisation: mean, scale and channel order that ``network`` was trained with.
        size: the side of its square input in pixels, to which other images are resized (bilinear,
            antialiased); None where it takes images of any size.

    Attributes:
        class_subset: the only classes that it can predict, int64; None where it can predict all.
        offset: how many of the network's first classes have no label; None stands for one,
            background, where it has 1001 classes, and for none elsewhere.
    """

    mean: Tensor
    scale: Tensor
    class_subset: Tensor | None
    offset: int | None = None

    def __init__(self, network: nn.Module, normalisation: Normalisation, size: int | None) -> None:
        super().__init__()
        mean, scale, self.bgr = normalisation
        self.network = network
        self.size = size
        self.layout = Layout(type(network).__name__)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(scale).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("class_subset", None, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, 3, H, W)`` in [0, 1]."""
        logits = self.logits(logits_of(self.answer(images)))
        if self.class_subset is None:
            return logits
        subset = self.class_subset
        return torch.full_like(logits, UNKNOWN).index_copy(1, subset, logits[:, subset])

    def answer(self, images: Tensor) -> Any:
        """The network's own output for images, of whatever type it is."""
        if self.size and images.shape[-2:] != (self.size, self.size):
            images = pixels.resize(images, self.size)
        if self.bgr:
            images = images.flip(1)
        return self.layout.call(self.network, (images - self.mean) / self.scale)

    def logits(self, outputs: Tensor) -> Tensor:
        """Those of the network's logits ``(N, k)`` that belong to labels."""
        background = outputs.shape[1] == WITH_BACKGROUND
        offset = int(background) if self.offset is None else self.offset
        return outputs[:, offset:] if offset else outputs


class ModelKind:
    """How networks of one kind are built.

    A subclass declares the kind's own configuration keys as keyword-only parameters of
    ``__init__``, documented under ``Args:`` in its docstring.
    """

    # Whether an entry must name a file of weights, since the kind has none of its own.
    needs_weights: bool = False
    # What the kind is called in the configuration, where that is not the file's name.
    names: tuple[str, ...] = ()
    # The library whose architectures the key ``architecture`` names, if it is one.
    zoo: str = ""

    def build(self, name: str, checkpoint: Checkpoint | None) -> Model:
        """The network with its weights, and the normalisation and size that it was trained with.

        Args:
            name: the configuration entry's name, for messages.
            checkpoint: the file that the entry names; without one, the kind's own weights.

        Raises:
            UserError: the network cannot be built; the message names the entry and its key.
        """
        raise NotImplementedError


def build(
    name: str,
    entry: Mapping[str, Any],
    device: torch.device | str = "cpu",
    *,
    state: h5py.Group | None = None,
    fold: bool = folding.FOLD,
) -> Model:
    """The model of a configuration entry, ready to predict.

    Args:
        name: the entry's name, which is its kind unless the entry names another.
        entry: ``kind``; ``weights`` (a file), ``key`` (under which it has them, where they are
            there more than once) and ``sha256`` (of that file); ``normalisation`` (a key of
            `NORMALISATIONS`) and ``size`` (of the input in pixels) where the kind's own are not
            right; ``offset`` (see `Model`); and the kind's own keys. A model that is trained has
            ``train`` and ``base``, the entry of what its training began with.
        device: where it runs.
        state: for a model that is trained, what it learned; see `advrob.training.trainer`.
            Without it the model is the one that its training begins with.
        fold: whether to fold batch normalisation into convolutions, see `folding.fold`; models that
            are yet to be trained are never folded.

    Raises:
        UserError: there is no such kind or key; the weights are missing, have another checksum or
            are of another architecture; a function cannot be imported or does not return a network.
    """
    trained = "train" in entry
    model = _assembled(name, entry["base"] if trained else entry)
    model = model.eval().requires_grad_(False)
    if state is not None:
        _restore(model, state)
    if fold and (state is not None or not trained):
        folding.fold(model.network)
    model = model.to(device)
    layout.channels_last(model)
    return model


def _assembled(name: str, entry: Mapping[str, Any]) -> Model:
    kind = _kind(name, entry)
    try:
        model = kind.build(name, _checkpoint(name, entry, needed=kind.needs_weights))
    except (TypeError, ValueError) as error:
        if not (arguments := entry.get("arguments")):
            raise
        raise UserError(
            f"models.{name}.arguments: with {dict(arguments)} the network cannot be built "
            f"({type(error).__name__}: {error}). Correct or remove the arguments that it does not "
            "accept."
        ) from error
    if not isinstance(model, Model):
        raise UserError(
            f"models.{name}: {type(kind).__name__}.build returns an object of type "
            f"{type(model).__name__}, expected an advrob.models.Model. Correct it."
        )
    if "normalisation" in entry:
        model = _normalised(name, model, entry["normalisation"])
    model.size = entry.get("size", model.size)
    model.offset = entry.get("offset")
    return model


def _kind(name: str, entry: Mapping[str, Any]) -> ModelKind:
    kind = entry.get("kind", name)
    cls = load("model", kind)
    parameters = {key: value for key, value in entry.items() if key not in COMMON}
    declared = kinds.kind("model", kind, f"models.{name}.kind").keys
    if unknown := sorted(parameters.keys() - declared.keys()):
        raise UserError(
            f"models.{name}: '{unknown[0]}' is not a key of {kind}. Expected of its own: "
            f"{', '.join(declared) or 'none'}; of all kinds: {', '.join(sorted(COMMON))}."
        )
    model_kind: ModelKind = cls(**parameters)
    return model_kind


def _checkpoint(name: str, entry: Mapping[str, Any], *, needed: bool) -> Checkpoint | None:
    if (weights := entry.get("weights")) is not None:
        return Checkpoint(name, Path(weights), sha256=entry.get("sha256"), key=entry.get("key"))
    if needed:
        raise UserError(
            f"models.{name}.weights: is missing. {entry.get('kind', name)} has no weights of its "
            "own; name a file with them."
        )
    return None


def _normalised(name: str, model: Model, normalisation: str) -> Model:
    if normalisation != "imagenet" and getattr(model.network, "transform_input", False):
        raise UserError(
            f"models.{name}.normalisation: is {normalisation}, but the network takes images that "
            "are normalised as imagenet says and converts them itself (transform_input). Remove "
            "the key, or set transform_input to false in the arguments."
        )
    return Model(model.network, NORMALISATIONS[normalisation], model.size)


def trained_state(model: Model) -> dict[str, np.ndarray]:
    """What `build` restores a trained model from: its weights and the classes that it predicts."""
    subset = {} if model.class_subset is None else {"known": model.class_subset.cpu().numpy()}
    return weight_arrays(model.network, "network.") | subset


def _restore(model: Model, state: h5py.Group) -> None:
    load_weights(model.network, state, "network.")
    if "known" in state:
        model.class_subset = torch.from_numpy(state["known"][:])
