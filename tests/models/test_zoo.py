"""Networks of the libraries' zoos: the same weights from the library and from a file."""

from typing import Any
from unittest import mock

import pytest
import timm
import torch
import torchvision.models as zoo
from safetensors.torch import save_file
from torch import nn
from torchvision.models import WeightsEnum

from advrob import models
from advrob.errors import UserError
from advrob.models.torchvision import AUXILIARY, fetch_arguments

GET_STATE_DICT = "torchvision.models._api.WeightsEnum.get_state_dict"
IMAGES = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))


def trained(network: nn.Module) -> dict[str, torch.Tensor]:
    """Weights under which logits are of the order of 1 and tell images apart."""
    torch.manual_seed(0)
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight)
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
    network.train()
    with torch.no_grad():
        network(torch.rand(4, 3, 299, 299))
    return {name: value.clone().contiguous() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("auxiliary", [True, False])
@pytest.mark.parametrize("architecture", ["googlenet", "inception_v3"])
def test_googles_networks_are_the_librarys_from_a_file_too(architecture, auxiliary, tmp_path):
    """They take images in [-1, 1], and what is saved of them may lack the auxiliary heads."""
    state = trained(getattr(zoo, architecture)(weights=None, init_weights=False))
    entry = {"kind": "torchvision", "architecture": architecture}
    with mock.patch(GET_STATE_DICT, lambda *a, **k: dict(state)):
        library = models.build("m", entry)
    saved = {k: v for k, v in state.items() if auxiliary or not k.startswith(AUXILIARY)}
    save_file(saved, tmp_path / "w.safetensors")
    from_file = models.build("m", entry | {"weights": str(tmp_path / "w.safetensors")})
    with torch.inference_mode():
        expected = library(IMAGES)
        assert expected.std() > 0.1
        torch.testing.assert_close(from_file(IMAGES), expected, rtol=1e-4, atol=1e-4)
    entry["weights"] = str(tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"models\.m\.normalisation: is inception, but .* itself"):
        models.build("m", entry | {"normalisation": "inception"})
    options = {"normalisation": "imagenet", "arguments": {"transform_input": False}}
    with torch.inference_mode():
        assert (models.build("m", entry | options)(IMAGES) - expected).abs().max() > 0.01


def built(architecture: str, weights: WeightsEnum | None, **arguments: Any) -> nn.Module:
    """What a function of torchvision builds, without numbers, and without fetching any."""
    with (
        torch.device("meta"),
        mock.patch(GET_STATE_DICT, lambda *a, **k: {}),
        mock.patch.object(nn.Module, "load_state_dict", lambda *a, **k: None),
    ):
        return zoo.get_model(architecture, weights=weights, **arguments)


def shape(network: nn.Module) -> tuple[dict[str, tuple[int, ...]], bool | None]:
    tensors = {k: tuple(v.shape) for k, v in network.state_dict().items()
               if not k.startswith(AUXILIARY)}  # fmt: skip
    return tensors, getattr(network, "transform_input", None)


@pytest.mark.parametrize(
    ("architecture", "weights"),
    [
        (name, weights)
        for name in zoo.list_models(module=zoo)
        for weights in zoo.get_model_weights(name)
        if weights is zoo.get_model_weights(name).DEFAULT or "SWAG" in weights.name
        if not name.startswith("regnet_")  # they compute with numbers while they are built
    ],
)
def test_every_network_is_built_as_torchvision_builds_it_for_its_own_weights(architecture, weights):
    network = built(architecture, None, **fetch_arguments(architecture, weights))
    assert shape(network) == shape(built(architecture, weights))


def test_a_file_that_torchvision_fetched_is_known_by_its_name(tmp_path):
    """Of one architecture there are weights for several sizes."""
    weights = zoo.ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1
    file = tmp_path / weights.url.rpartition("/")[2]
    torch.save(zoo.vit_b_16(image_size=384).state_dict(), file)
    entry = {"kind": "torchvision", "architecture": "vit_b_16", "weights": str(file)}
    assert models.build("m", entry).size == 384


@pytest.mark.parametrize("image", [160, 192])
def test_timms_own_conversions_hold_for_weights_from_a_file(image, tmp_path):
    """A patch embedding as a product, as in original releases, and positions of another size."""
    torch.manual_seed(0)
    network = timm.create_model("test_vit", pretrained=False).eval()
    state = dict(network.state_dict())
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"].flatten(1)
    torch.save({"model": state, "epoch": 3}, tmp_path / "w.pth")
    entry = {
        "kind": "timm",
        "architecture": "test_vit",
        "weights": str(tmp_path / "w.pth"),
        "normalisation": "none",
        "size": image,
        "arguments": {"img_size": image},
    }
    overlay = {"state_dict": dict(network.state_dict())}
    expected = timm.create_model(
        "test_vit", pretrained=True, img_size=image, pretrained_cfg_overlay=overlay
    ).eval()
    images = torch.rand(2, 3, image, image, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        models.build("m", entry)(images), expected(images), rtol=0, atol=1e-4
    )


def test_timm_takes_a_head_of_ones_own(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("test_vit", pretrained=False, num_classes=5).eval()
    torch.save({"state_dict": network.state_dict()}, tmp_path / "w.pth")
    entry = {
        "kind": "timm",
        "architecture": "test_vit",
        "weights": str(tmp_path / "w.pth"),
        "normalisation": "none",
    }
    images = torch.rand(2, 3, 160, 160)
    model = models.build("m", entry | {"arguments": {"num_classes": 5}})
    torch.testing.assert_close(model(images), network(images), rtol=0, atol=1e-4)
    with pytest.raises(UserError, match="size mismatch"):
        models.build("m", entry)
