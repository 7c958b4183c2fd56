"""The check-up: every twin is flagged, no shipped defence is, and each finding can fail."""

import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import advrob
from advrob import defences
from advrob.attacks.expectation import Expectation
from advrob.errors import UserError
from advrob.evaluation import calibration
from advrob.evaluation.checkup import SCALES, Finding, checkup
from advrob.evaluation.derivatives import probe
from advrob.evaluation.twins import TWINS
from advrob.findings import metrics
from advrob.findings.checks import as_finding_check, grade
from advrob.images.pixels import to_tensor
from advrob.job.compute import generator
from advrob.models import NORMALISATIONS, Model
from advrob.networks import Network

# What each twin is flagged by.
FLAGS = {
    "rounding": "gradient",
    "vanishing": "gradient",
    "saturated": "cross-entropy",
    "probabilities": "logits",
    "log_saturated": "gradient",
    "noise": "same answer",
    "crops": "same answer",
    "surrogate": "gradient",
    "detached": "gradient",
    "inner_optimisation": "inner optimisation",
    "one_hot": "gradient",
    "random_signs": "gradient",
    "plateau": "gradient",
    "decoy": "gradient",
}
SHIPPED = {
    "none": {},
    "noise": {"minimum": -30, "maximum": 30},
    "downsample": {"ratio": 0.5},
    "jpeg": {"quality": 50},
    "bit_depth": {"bits": 3},
    "median": {"size": 3},
    "total_variation": {"iterations": 10},
    "resize_pad": {},
}
# Those whose gradient is an approximation, and those that draw.
APPROXIMATE = {"jpeg", "bit_depth", "total_variation"}
DRAWING = {"noise", "total_variation", "resize_pad"}


def smooth(count: int, side: int) -> np.ndarray:
    """8-bit images with large shapes, as photographs have, that reach both ends of the scale."""
    coarse = torch.from_numpy(np.random.default_rng(8).normal(0.5, 0.3, (count, 3, 5, 5)))
    wide = nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    levels = (wide.clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().numpy()


@pytest.fixture(scope="module")
def case() -> tuple[nn.Module, Tensor, Tensor]:
    """A network of templates, with its images and labels."""
    images, labels = smooth(20, 32), np.arange(20)
    return calibration.templates(images, labels), to_tensor(images), torch.from_numpy(labels)


@pytest.fixture(scope="module")
def residual() -> tuple[nn.Module, Tensor, Tensor]:
    """A small convolutional network of random weights; its predictions serve as labels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model("test_resnet", pretrained=False, num_classes=10)
    model = Model(network, NORMALISATIONS["imagenet"], None).eval()
    images = to_tensor(smooth(12, 64))
    with torch.no_grad():
        # Centred, so that it has answers of more than one class.
        network.fc.bias -= model(images).mean(dim=0)
        return model, images, model(images).argmax(dim=1)


def graded(findings):
    """The grade of an evaluation whose only checks are those of the check-up."""
    checks = [as_finding_check(vars(finding)) for finding in findings]
    return grade(checks, metrics.accuracy(np.ones(100, bool), [str(n) for n in range(100)]))


def flagged(findings: list[Finding]) -> set[str]:
    return {finding.name for finding in findings if finding.level in ("warning", "failed")}


def find(findings: list[Finding], name: str) -> Finding:
    (finding,) = [finding for finding in findings if finding.name == name]
    return finding


class Wrapper(nn.Module):
    """A network changed by a function of it and the images."""

    def __init__(self, network: nn.Module, forward: Callable) -> None:
        super().__init__()
        self.network = network
        self.change = forward

    def forward(self, images: Tensor) -> Tensor:
        return self.change(self.network, images)


def test_an_honest_network_passes_everything(case):
    findings = advrob.checkup(*case)
    assert {finding.level for finding in findings} == {"passed"}
    assert graded(findings) == "A"
    assert len({finding.name for finding in findings}) == len(findings) >= 12


@pytest.mark.parametrize("name", TWINS)
def test_every_twin_is_flagged(case, name):
    network, images, labels = case
    twin = TWINS[name](network, generator(5)).eval()
    findings = checkup(twin, images, labels)
    assert FLAGS[name] in flagged(findings)
    assert graded(findings) in ("C", "D")
    for finding in findings:
        assert (finding.advice != "") == (finding.level != "passed")


@pytest.mark.parametrize("kind", SHIPPED)
def test_no_shipped_defence_is_flagged(residual, kind):
    model, images, labels = residual
    defence = defences.build(kind, SHIPPED[kind], generator=generator(6))
    findings = checkup(Network(defence, model), images, labels)
    # Behind some defences the network recognises little of this, which is rightly told.
    assert flagged(findings) <= {"accuracy"}
    assert find(findings, "gradient").level == ("note" if kind in APPROXIMATE else "passed")
    assert find(findings, "same answer").level == ("note" if kind in DRAWING else "passed")


def test_the_generators_are_left_as_they_were(residual):
    model, images, _ = residual
    drawn = generator(7)
    network = Network(defences.build("noise", SHIPPED["noise"], generator=drawn), model)
    states = drawn.get_state(), torch.get_rng_state()
    probe(network, images[:2], generator(0))
    assert drawn.get_state().equal(states[0])
    assert torch.get_rng_state().equal(states[1])


def test_the_mean_over_draws_is_what_the_advice_for_undeclared_noise_leads_to(case):
    network, images, labels = case
    mean = Expectation(TWINS["noise"](network, generator(5)), 4).eval()
    findings = checkup(mean, images, labels)
    assert find(findings, "gradient").level == "passed"


BROKEN: dict[str, tuple[Callable, str, str]] = {
    "tuple": (lambda net, x: (net(x), x), "output", "warning"),
    "object": (lambda net, x: SimpleNamespace(logits=net(x)), "output", "warning"),
    "dictionary": (lambda net, x: {"logits": net(x)}, "output", "warning"),
    "text": (lambda net, x: "cat", "output", "failed"),
    "error": (lambda net, x: net(x).view(3, 7, 5), "output", "failed"),
    "double": (lambda net, x: net(x).double(), "output", "warning"),
    "map": (lambda net, x: net(x)[:, :, None], "classes", "failed"),
    "few classes": (lambda net, x: net(x)[:, :5], "classes", "failed"),
    "undefined": (lambda net, x: net(x) * float("nan"), "finite", "failed"),
    "probabilities": (lambda net, x: net(x).softmax(dim=1), "logits", "warning"),
    "global noise": (lambda net, x: net(x + 0.2 * torch.randn(1)), "same answer", "warning"),
    "batch": (lambda net, x: net(x - x.mean(dim=0)), "batch", "failed"),
    "in place": (lambda net, x: net(x.mul_(0.9)), "input", "failed"),
    "shifted": (lambda net, x: net(x).roll(1, dims=1), "accuracy", "failed"),
    "shuffled": (lambda net, x: net(x)[:, torch.arange(20) * 7 % 20], "accuracy", "warning"),
    "levels": (lambda net, x: net(x / 255), "normalisation", "warning"),
    "root": (lambda net, x: net(x) + (x[:, :1, 0] * 0).sqrt().sum(), "gradient", "failed"),
    "repeated": (lambda net, x: net(x) + 0 * net(x) + 0 * net(x), "inner optimisation", "note"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_found_and_named(case, name):
    network, images, labels = case
    change, expected, level = BROKEN[name]
    if name == "repeated":
        weights, bias = network.weights.flatten(1).float(), network.bias.float()
        layer = nn.Linear(192, 20)
        layer.weight.data, layer.bias.data = weights, bias
        network = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), layer)
    findings = checkup(Wrapper(network, change).eval(), images, labels)
    finding = find(findings, expected)
    assert finding.level == level, findings
    assert finding.advice.endswith(".")
    assert graded(findings) == {"note": "B", "warning": "C", "failed": "D"}[level]


@pytest.mark.parametrize("name", SCALES)
def test_the_normalisation_that_a_network_was_trained_with_is_named(case, name):
    _, images, labels = case
    # Right on images that are scaled so, and wrong on plain ones: they are of a class of their own.
    seen = torch.cat([SCALES[name](images), images]).flatten(1)
    classes = torch.cat([labels, torch.full_like(labels, 20)])

    def nearest(_: nn.Module, images: Tensor) -> Tensor:
        similar = -torch.cdist(images.flatten(1), seen)
        return torch.stack([similar[:, classes == k].amax(dim=1) for k in range(21)], dim=1)

    finding = find(checkup(Wrapper(nn.Identity(), nearest), images, labels), "normalisation")
    assert finding.level == "warning"
    assert name in finding.found
    assert name in finding.advice


def test_training_mode_fails_and_changes_nothing(case):
    network, images, labels = case
    norm = nn.BatchNorm2d(3)
    findings = checkup(nn.Sequential(norm, network).train(), images, labels)
    assert [(finding.name, finding.level) for finding in findings] == [
        ("evaluation mode", "failed")
    ]
    assert norm.num_batches_tracked == 0


def test_classes_are_those_that_were_expected(case):
    network, images, labels = case
    assert find(checkup(network, images, labels, classes=20), "classes").level == "passed"
    assert find(checkup(network, images, labels, classes=1000), "classes").level == "failed"


def test_what_cannot_be_looked_at_is_refused(case):
    network, images, labels = case
    for wrong, message in (
        ((images * 255, labels), r"values from \S+ to \S+, expected 0 to 1\. Give plain RGB"),
        ((images.mul(255).byte(), labels), r"are torch\.uint8, expected floats\. Convert 8-bit"),
        ((images[0], labels), r"of shape \(3, 32, 32\), expected \(N, 3, H, W\)"),
        ((images[:0], labels[:0]), r"of shape \(0, 3, 32, 32\), .* N at least 1"),
        ((images, labels[:3]), "a class for each image"),
    ):
        with pytest.raises(UserError, match=message):
            checkup(network, *wrong)


def test_the_package_alone_imports_no_torch():
    code = "import sys, advrob; assert 'torch' not in sys.modules; advrob.checkup"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'chekup'"):
        _ = advrob.chekup
