"""Features of networks whose last layer is not what gives the logits."""

import timm
import torch
from torch import nn
from torchvision.models import squeezenet1_1

from advrob import models

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


class ZeroShot(nn.Module):
    """As CLIP's: features times a matrix of texts."""

    def __init__(self):
        super().__init__()
        self.convolve = nn.Conv2d(3, 8, 32, 32)
        self.texts = nn.Parameter(torch.randn(8, 1000))

    def forward(self, images):
        return self.convolve(images).mean((2, 3)) @ self.texts


class Tokens(nn.Module):
    """As VOLO: a head for each token runs after the one for the image."""

    def __init__(self):
        super().__init__()
        self.convolve = nn.Conv2d(3, 8, 32, 32)
        self.head, self.auxiliary = nn.Linear(8, 10), nn.Linear(8, 10)

    def forward(self, images):
        tokens = self.convolve(images).flatten(2).transpose(1, 2)
        return self.head(tokens.mean(1)) + 0.5 * self.auxiliary(tokens).amax(1)


def test_logits_stand_for_the_features_of_networks_without_a_last_layer(capsys):
    scripted = torch.jit.trace(squeezenet1_1(weights=None).eval(), IMAGES)
    with torch.no_grad():
        for network in (ZeroShot(), Tokens(), scripted):
            features, logits = models.penultimate(network, IMAGES)
            torch.testing.assert_close(logits, network(IMAGES))
            assert features is logits
            assert not any(getattr(part, "_forward_hooks", ()) for part in network.modules())
            assert "logits are taken" in capsys.readouterr().out


def test_it_is_said_once(capsys):
    class Once(ZeroShot):
        pass

    network = Once()
    for _ in range(3):
        models.penultimate(network, IMAGES)
    assert capsys.readouterr().out.count("Once has no last layer") == 1


def test_a_class_for_background_does_not_hide_the_last_layer():
    network = timm.create_model("test_resnet", pretrained=False, num_classes=1001).eval()
    model = models.Model(network, models.NORMALISATIONS["none"], None)
    with torch.no_grad():
        features, logits = models.penultimate(model, IMAGES)
        expected = network.forward_head(network.forward_features(IMAGES), pre_logits=True)
    torch.testing.assert_close(features, expected)
    assert logits.shape == (2, 1000)
