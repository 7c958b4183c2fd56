"""Modules that take images in any layout, and modules that need the plain one."""

import torch
from torch import nn

from advrob.defences import Defence
from advrob.images.layout import Layout, channels_last

IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LAST = IMAGES.contiguous(memory_format=torch.channels_last)


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0
        self.convolve = nn.Conv2d(3, 4, 3)
        self.classifier = nn.Linear(4 * 36, 5)

    def forward(self, images):
        self.calls += 1
        return self.classifier(self.convolve(images).view(len(images), -1))


class Shaken(Defence):
    """Noise that is drawn before PyTorch refuses to view."""

    stochastic = True

    def forward(self, images):
        return (images + self.draw(images.shape, images)).view(len(images), -1)


def test_a_network_that_views_gets_plain_memory_and_is_told_of_once(capsys):
    torch.manual_seed(0)
    network = Flat()
    expected = network(IMAGES)
    channels_last(network)
    layout = Layout("models.m")
    for calls in (3, 4, 5):
        # The first call is made twice.
        torch.testing.assert_close(layout.call(network, LAST), expected, rtol=0, atol=1e-6)
        assert network.calls == calls
    assert capsys.readouterr().out.count("models.m needs images whose memory is laid out") == 1
    images = LAST.clone(memory_format=torch.channels_last).requires_grad_()
    layout.call(network, images).sum().backward()
    assert images.grad is not None


def test_a_call_that_is_made_again_draws_the_same():
    defence, layout = Shaken(), Layout("defences.d")
    defence.generator = torch.Generator().manual_seed(5)
    output = layout.call(defence, LAST, defence.generator)
    noise = torch.rand(IMAGES.shape, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(output, (IMAGES + noise).flatten(1))


def test_other_errors_stay_errors():
    class Wrong(nn.Module):
        def forward(self, images):
            raise RuntimeError("no")

    try:
        Layout("m").call(Wrong(), LAST)
    except RuntimeError as error:
        assert str(error) == "no"
    else:
        raise AssertionError("nothing was raised")


def test_weights_of_five_dimensions_are_left_as_they_are():
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.Conv2d(3, 4, 3))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    channels_last(network)
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last)
    assert network[0].weight.is_contiguous()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
