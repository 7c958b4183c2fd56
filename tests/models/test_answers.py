"""What networks of all sorts answer: taken for what it is, or refused in a sentence."""

from types import SimpleNamespace

import pytest
import timm
import torch
from torch import nn

from advrob import models
from advrob.errors import UserError
from advrob.models import Model, check_answers

IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Answering(nn.Module):
    """Logits of so many classes, and what a function makes of them."""

    def __init__(self, classes=1000, make=lambda logits: logits):
        super().__init__()
        torch.manual_seed(0)
        self.classifier = nn.Linear(3, classes)
        self.make = make

    def forward(self, images):
        return self.make(self.classifier(images.mean((2, 3))))


def model(network):
    classifier = Model(network, models.NORMALISATIONS["none"], None)
    return classifier.eval().requires_grad_(False)


PLAIN = model(Answering())(IMAGES)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda logits: (logits, logits * 0), "gives tuple; its logits are taken"),
        (lambda logits: [logits], "gives list; its logits are taken"),
        (lambda logits: {"loss": 0, "logits": logits}, "gives dict; its logits are taken"),
        (lambda logits: SimpleNamespace(logits=logits), "gives SimpleNamespace; its logits"),
    ],
)
def test_logits_are_taken_out_of_what_holds_them(make, line, capsys):
    classifier = model(Answering(make=make))
    torch.testing.assert_close(classifier(IMAGES), PLAIN, rtol=0, atol=0)
    check_answers(classifier, 1000, IMAGES, name="m")
    assert f"models.m: the network {line}" in capsys.readouterr().out


def test_a_first_class_for_background_is_left_out_and_said(capsys):
    def background(logits):
        return torch.cat((torch.full_like(logits[:, :1], 99.0), logits), dim=1)

    classifier = model(Answering(make=background))
    torch.testing.assert_close(classifier(IMAGES), PLAIN, rtol=0, atol=0)
    check_answers(classifier, 1000, IMAGES, name="m")
    assert "answers 1001 classes; the first 1 is left out, as background" in capsys.readouterr().out
    classifier.offset = 0
    assert classifier(IMAGES).shape == (4, 1001)


def test_offset_is_a_key_of_every_kind(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", pretrained=False, num_classes=12).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    entry = {
        "kind": "timm",
        "architecture": "test_resnet",
        "weights": str(tmp_path / "w.pth"),
        "arguments": {"num_classes": 12},
    }
    all_of_them = models.build("m", entry)(IMAGES)
    assert torch.equal(models.build("m", entry | {"offset": 2})(IMAGES), all_of_them[:, 2:])


def headless():
    return timm.create_model("test_resnet", pretrained=False, num_classes=0)


@pytest.mark.parametrize(
    ("network", "classes", "message"),
    [
        (
            Answering(2),
            492,
            r"returns 2 numbers .* need 492 classes\. Expected 492 to 1000",
        ),
        (Answering(384), 1000, r"returns 384 numbers .* lacks its last layer"),
        (headless(), 5, r"returns \d+ numbers .* lacks its last layer"),
        (Answering(2048), 1000, r"returns 2048 numbers .* Expected 1000, in"),
        (Answering(make=lambda logits: logits / 0), 1000, r"for 4 of 4 images .* not finite"),
        (Answering(make=lambda x: x[:, :, None]), 1000, r"shape \(4, 1000, 1\) and type float32"),
        (Answering(make=lambda x: x.argmax(1)), 1000, r"shape \(4,\) and type int64"),
        (Answering(make=lambda x: x.mean(0, True)), 1000, r"shape \(1, 1000\)"),
        (Answering(make=lambda x: "a cat"), 1000, r"returns an object of type str without logits"),
        (nn.Linear(5, 2), 2, r"fails on 4 images of 16 x 16 pixels \(RuntimeError: .*size"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_a_sentence(network, classes, message):
    with pytest.raises(UserError, match=rf"^models\.m: .*{message}"):
        check_answers(model(network), classes, IMAGES, name="m")


def test_a_broken_tensor_is_named():
    network = Answering()
    network.classifier.bias.data[3] = float("nan")
    with pytest.raises(UserError, match=r"so is its tensor classifier\.bias"):
        check_answers(model(network), 1000, IMAGES, name="m")


def test_an_offset_that_leaves_no_class_is_named():
    network = model(Answering())
    network.offset = 1000
    with pytest.raises(
        UserError, match=r"^models\.m\.offset: is 1000, but the network returns 1000"
    ):
        check_answers(network, 10, IMAGES, name="m")


def test_few_classes_are_enough_for_few_labels(capsys):
    check_answers(model(Answering(2)), 2, IMAGES, name="m")
    check_answers(model(Answering(10)), 2, IMAGES, name="m")
    assert capsys.readouterr().out == ""


def test_probabilities_are_pointed_at(capsys):
    check_answers(model(Answering(make=lambda x: x.softmax(1))), 1000, IMAGES, name="m")
    assert "look like probabilities" in capsys.readouterr().out
