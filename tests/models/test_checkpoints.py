"""Weights as libraries and trainers save them, against the network that they were taken from."""

import argparse
import collections

import numpy as np
import pytest
import timm
import torch
import torchvision
from hypothesis import given, seed
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from advrob import models
from advrob.errors import UserError
from advrob.models.checkpoints import Checkpoint
from fuzzing import DAMAGES, damaged, fuzzed, memory_limited, time_limited

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def network(classes: int = 7) -> nn.Module:
    return torchvision.models.resnet18(weights=None, num_classes=classes).eval()


def with_prefix(prefix, tensors):
    return {prefix + name: value for name, value in tensors.items()}


torch.manual_seed(0)
NETWORK, OTHER = network(), network()
THIS, THAT = NETWORK.state_dict(), OTHER.state_dict()
CONSTANTS = {"new_mean": torch.zeros(3, 1, 1), "new_std": torch.ones(3, 1, 1)}
COPIES = with_prefix("module.model.", THIS) | with_prefix("module.attacker.model.", THIS)
COUNT = {"n_averaged": torch.tensor(9)}
DATA_PARALLEL_FEATURES = {
    name.replace("layer1", "layer1.module"): value for name, value in THIS.items()
}
SAVED = {
    "plain": THIS,
    "DataParallel, with numbers beside it": {
        "state_dict": with_prefix("module.", THIS),
        "arch": "resnet18",
        "epoch": 3,
        "best_acc1": torch.tensor(50.0),
    },
    "the trainer's arguments": {"model": THIS, "args": argparse.Namespace(lr=0.1)},
    "a score of NumPy": {"net": THIS, "best": np.float64(0.5), "scores": np.ones(3, np.float32)},
    "an optimiser": {
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(64, 3, 7, 7)}}, "param_groups": [{}]},
        "net": THIS,
    },
    "torch.compile": with_prefix("_orig_mod.", THIS),
    "DataParallel of torch.compile": with_prefix("module._orig_mod.", THIS),
    "DataParallel of a part": DATA_PARALLEL_FEATURES,
    "robustness (Madry Lab)": {
        "model": {
            **with_prefix("module.normalizer.", CONSTANTS),
            **with_prefix("module.attacker.normalize.", CONSTANTS),
            **COPIES,
        }
    },
    "Sequential(normalisation, network)": {
        "state_dict": {"0.mean": torch.zeros(3), "0.std": torch.ones(3), **with_prefix("1.", THIS)}
    },
    "Sequential(normalisation, DataParallel)": {"state_dict": with_prefix("1.module.", THIS)},
    "Lightning": {"state_dict": with_prefix("model.", THIS), "pytorch-lightning_version": "2"},
    "Lightning, called net": {"state_dict": with_prefix("net.", THIS)},
    "AveragedModel": AveragedModel(NETWORK).state_dict(),
    "torchvision's references": {
        "model": THAT,
        "model_ema": {**with_prefix("module.", THIS), **COUNT},
    },
    "timm's trainer": {"state_dict": THAT, "state_dict_ema": THIS},
    "model_state_dict": {"model_state_dict": THIS},
    "model_state": {"model_state": THIS},
    "constants of a wrapper": {**THIS, "mean": torch.zeros(3), "std": torch.ones(3)},
    "an old PyTorch": {k: v for k, v in THIS.items() if not k.endswith("num_batches_tracked")},
}


def entry(path, **options):
    return {
        "kind": "torchvision",
        "architecture": "resnet18",
        "arguments": {"num_classes": 7},
        "weights": str(path),
        "normalisation": "none",
        "size": 64,
        **options,
    }


@pytest.mark.parametrize("saved", SAVED)
def test_weights_are_found_however_a_trainer_saves_them(saved, tmp_path):
    torch.save(SAVED[saved], tmp_path / "w.pth")
    model = models.build("mine", entry(tmp_path / "w.pth"))
    torch.testing.assert_close(model(IMAGES), NETWORK(IMAGES), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("saved", "key"),
    [("torchvision's references", "model"), ("timm's trainer", "state_dict")],
)
def test_averaged_weights_are_taken_and_others_can_be_chosen(saved, key, tmp_path, capsys):
    torch.save(SAVED[saved], tmp_path / "w.pth")
    models.build("mine", entry(tmp_path / "w.pth"))
    said = capsys.readouterr().out
    assert "the averaged ones are taken" in said
    assert f"set models.mine.key to {key}." in said
    model = models.build("mine", entry(tmp_path / "w.pth", key=key))
    torch.testing.assert_close(model(IMAGES), OTHER(IMAGES), rtol=0, atol=1e-4)
    assert not capsys.readouterr().out
    with pytest.raises(
        UserError, match=r"models\.mine\.key: .* nothing below 'ema'. .*: (model|st)"
    ):
        models.build("mine", entry(tmp_path / "w.pth", key="ema"))


def test_weights_that_are_there_twice_must_be_chosen(tmp_path):
    torch.save({"generator": THIS, "critic": THAT}, tmp_path / "w.pth")
    with pytest.raises(
        UserError, match=r"several sets of such weights: generator, critic\. Name the one"
    ):
        models.build("mine", entry(tmp_path / "w.pth"))
    model = models.build("mine", entry(tmp_path / "w.pth", key="critic"))
    torch.testing.assert_close(model(IMAGES), OTHER(IMAGES), rtol=0, atol=1e-4)


def test_a_layer_that_normalises_is_left_out_and_said(tmp_path, capsys):
    torch.save(SAVED["constants of a wrapper"], tmp_path / "w.pth")
    models.build("mine", entry(tmp_path / "w.pth"))
    assert "normalises images (mean, std). It is left out" in capsys.readouterr().out


def test_a_larger_network_of_the_same_family_is_not_taken_for_a_smaller(tmp_path):
    """All that a ResNet-18 needs is in a ResNet-34, in the same shapes."""
    torch.manual_seed(0)
    larger = torchvision.models.resnet34(weights=None, num_classes=7)
    torch.save(larger.state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"have no place in the network \(layer1\.2\.conv1\.weight"):
        models.build("mine", entry(tmp_path / "w.pth"))


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "w.pth").touch()
    with pytest.raises(UserError, match=r"read as tensors \(it is empty or cut short\)\. Expected"):
        models.build("mine", entry(tmp_path / "w.pth"))


# A trainer's state that holds itself.
ENDLESS: dict[str, object] = {"weights": torch.zeros(3)}
ENDLESS["trainer"] = ENDLESS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, "holds no tensors"),
        (ENDLESS, "holds mappings in mappings without end"),
        ([torch.zeros(3)], "holds no tensors"),
        ({k: v for k, v in THIS.items() if "layer4.1" not in k}, r"10 of 102 tensors are missing"),
        (network(5).state_dict(), "size mismatch for fc.weight"),
    ],
)
def test_what_holds_no_such_weights_is_explained(content, message, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=message):
        models.build("mine", entry(tmp_path / "w.pth"))


@pytest.mark.parametrize("naming", ["own", "package", "timm"])
def test_efficientnet_lite0_takes_its_weights_under_each_name_in_any_order(naming, tmp_path):
    """A safetensors file keeps names in an order of its own."""
    model = models.build("efficientnet_lite0", {}, fold=False)
    own = model.network.state_dict()
    if naming == "own":
        tensors = own
    elif naming == "timm":
        theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        # The oracle: timm's network in the same order gives the same logits to the bit.
        theirs.load_state_dict(dict(zip(theirs.state_dict(), own.values(), strict=True)))
        tensors = theirs.state_dict()
    else:
        from advrob.models.efficientnet_lite0 import EfficientNetLite0, packaged

        tensors = torch.load(packaged("m", EfficientNetLite0.package), weights_only=True)
    assert (list(tensors) == list(own)) == (naming == "own")
    contiguous = {name: value.contiguous() for name, value in reversed(tensors.items())}
    save_file(contiguous, tmp_path / "w.safetensors")
    entry = {"weights": str(tmp_path / "w.safetensors")}
    again = models.build("efficientnet_lite0", entry, fold=False)
    images = IMAGES.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(again(images), model(images), rtol=0, atol=0)


def test_a_network_may_call_a_layer_as_a_wrapper_is_called(tmp_path):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(3, 2)

    torch.manual_seed(0)
    first, second = Odd(), Odd()
    torch.save({"state_dict": with_prefix("module.", first.state_dict())}, tmp_path / "w.pth")
    Checkpoint("m", tmp_path / "w.pth").fill(second)
    assert torch.equal(first.module.weight, second.module.weight)


def test_the_names_of_a_state_are_kept_where_wrappers_tell_tensors_apart(tmp_path):
    layer = nn.Linear(3, 2)
    saved = collections.OrderedDict(layer.state_dict())
    saved["module.weight"] = layer.weight + 1
    saved["module.bias"] = layer.bias + 1
    torch.save(saved, tmp_path / "w.pth")
    checkpoint = Checkpoint("m", tmp_path / "w.pth", key="module")
    assert torch.equal(checkpoint.select(["weight", "bias"])["bias"], layer.bias + 1)


def tensors(path):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    if path.suffix == ".safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save({"model": network.state_dict(), "epoch": 3}, path)
    return path.read_bytes()


@seed(1)
@fuzzed
@given(
    suffix=st.sampled_from([".safetensors", ".pth"]),
    damages=DAMAGES,
    fraction=st.sampled_from([1.0, 1.0, 1.0, 0.5, 0.01]),
)
def test_damaged_weights_are_read_or_refused_in_a_sentence(tmp_path, suffix, damages, fraction):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(damaged(tensors(path), damages, fraction))
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    try:
        with memory_limited(), time_limited():
            Checkpoint("m", path).fill(network)
    except UserError as error:
        assert str(error).startswith("models.m.weights: ")
        str(error).encode("utf-8")
