"""A defence is tried before the long work: it returns images like those that it is given."""

import pytest
import torch
from torch import nn

from advrob.defences import Defence
from advrob.errors import UserError
from advrob.networks import Network
from advrob.probing import check_defence

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Mine(Defence):
    """A defence of a user."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


def check(function):
    check_defence(Network(Mine(function), nn.Flatten()), IMAGES, "defences.mine")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x * 255, r"returns numbers from 0\.\d+ to 25\d\. .* 0 to 1 for black to white"),
        (lambda x: 2 * x - 1, r"returns numbers from -\S+ to \S+\. .* normalises them itself"),
        (lambda x: (x - 0.45) / 0.22, r"returns numbers from -2\S* to 2\S*\. "),
        (lambda x: x.double(), r"returns numbers of type float64\. Expected float32"),
        (lambda x: x.half(), r"returns numbers of type float16\. "),
        (lambda x: (255 * x).byte(), r"returns numbers of type uint8\. "),
        (lambda x: x / 0, r"returns NaN or infinity\. "),
        (lambda x: x.mean(1, True), r"returns \(2, 1, 16, 16\) for images of shape"),
        (lambda x: (x, x), r"returns tuple for images"),
        (lambda x: x + torch.rand(()) / 99, r"returns other images each time"),
        (
            lambda x: x.nothing,
            r"fails on images .*AttributeError.* at .*test_probing\.py, line \d+",
        ),
    ],
)
def test_what_is_no_defence_is_refused_in_a_sentence(function, message):
    with pytest.raises(UserError, match=rf"^defences\.mine: {message}"):
        check(function)


@pytest.mark.parametrize("function", [lambda x: x.mul_(0.5), lambda x: 1.1 * x - 0.05])
def test_writing_into_the_input_and_overshooting_a_little_are_allowed(function):
    before = IMAGES.clone()
    check(function)
    assert torch.equal(IMAGES, before)


def test_what_was_learned_badly_is_no_mistake():
    network = Network(Mine(lambda x: 4 * x - 2), nn.Flatten())
    with pytest.raises(UserError, match="returns numbers from"):
        check_defence(network, IMAGES, "defences.mine")
    check_defence(network, IMAGES, "defences.mine", learned=True)
