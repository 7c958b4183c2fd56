"""A defence is tried before the long work: it returns images like those that it is given."""

import numpy as np
import pytest
import torch
from torch import nn

from advrob.defences import Defence
from advrob.errors import UserError
from advrob.files.store import StreamedArray
from advrob.learning.defences import check_arrays
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


def test_random_numbers_from_elsewhere_are_refused():
    defence = Mine(lambda x: x + torch.rand(()) / 99)
    defence.stochastic = True
    with pytest.raises(UserError, match=r"is stochastic, but draws other numbers from the same"):
        check_defence(Network(defence, nn.Flatten()), IMAGES, "defences.mine")


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


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (None, "its fit returned an object of type NoneType"),
        (np.zeros(3), "its fit returned an object of type ndarray"),
        ({"a": np.zeros(3), "b": "text"}, "its fit returned 'b' of type str"),
        ({"a": [object()]}, "its fit returned 'a' of type list"),
    ],
)
def test_a_fit_that_returns_something_else_is_refused_in_a_sentence(arrays, message):
    with pytest.raises(UserError, match=rf"^defences\.mine: {message}\. Expected an? "):
        check_arrays("mine", arrays)


def test_a_fit_returns_arrays_by_their_names():
    arrays = {"a": np.zeros(3), "b": 1.5, "c": StreamedArray((1,), "uint8", [np.zeros(1)])}
    assert list(check_arrays("mine", arrays)) == ["a", "b", "c"]
