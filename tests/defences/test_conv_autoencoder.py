"""The convolutional autoencoder."""

import re

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image

from advrob import defences
from advrob.defences import conv_autoencoder
from advrob.defences.conv_autoencoder import ConvolutionalAutoencoder
from advrob.errors import UserError
from advrob.figures.layers import trace
from advrob.files import store
from advrob.job.compute import generator
from interrupted import assert_resumes_to_the_same_bytes

CPU = torch.device("cpu")
SMALL = {"channels": [6, 4], "epochs": 3, "batch_size": 8}


def photographs(count, size=16):
    """Crops of a real photograph."""
    picture = load_sample_image("flower.jpg")
    corners = np.random.default_rng(0).integers(0, 400 - size, size=(count, 2))
    return np.stack([picture[i : i + size, j : j + size] for i, j in corners])


def fit(images, checkpoint, seed=0, **changes):
    return ConvolutionalAutoencoder(**SMALL | changes).fit(
        images, device=CPU, generator=generator(seed), checkpoint=checkpoint
    )


def test_learning_lowers_the_error(tmp_path):
    state = fit(photographs(60), tmp_path / "checkpoint", epochs=8, learning_rate=0.01)
    curve = state["training_curve"]
    assert curve.shape == (8, 2)
    assert curve[-1, 1] < 0.5 * curve[0, 1]
    assert state["reconstruction_error"] == curve[-1, 1]


@pytest.mark.parametrize(
    ("rate", "reached"), [(1e30, "is nan"), (10.0, "error is "), (0.06, "held out is ")]
)
def test_learning_that_diverges_is_refused(tmp_path, rate, reached):
    said = rf"^conv_autoencoder: training diverged: .*{reached}.*Set a lower learning_rate than "
    with pytest.raises(UserError, match=said + re.escape(f"{rate:g}.")):
        fit(photographs(30), tmp_path / "checkpoint", learning_rate=rate)


def test_no_batch_is_learned_from_beyond_a_bound():
    """A batch that is unlike what came before pulls no harder than the others."""
    network = ConvolutionalAutoencoder(**SMALL)
    learner = conv_autoencoder.Learner(network, network.training_plan)
    wild = 100 * torch.rand(8, 3, 16, 16, generator=generator(0))
    assert learner.step(wild, wild, 0.005) > wild.numel()
    lengths = [weights.grad.norm() for weights in network.parameters()]
    assert torch.stack(lengths).norm() == pytest.approx(conv_autoencoder.LONGEST, rel=1e-3)


def test_weights_survive_a_file(tmp_path):
    state = fit(photographs(20), tmp_path / "checkpoint", epochs=1)
    with store.write(tmp_path / "state.h5", "state/1", seed=0, params={}, source="") as file:
        store.put(file, state)
    with store.read(tmp_path / "state.h5", "state/1") as file:
        defence = defences.build("conv_autoencoder", SMALL, state=file)
    for name, value in defence.state_dict().items():
        np.testing.assert_array_equal(value, state[name])
    assert not defence.training


def test_code_is_narrower_than_the_image():
    network = ConvolutionalAutoencoder().eval()
    with torch.no_grad():
        code = network.encoder(torch.zeros(1, 3, 224, 224))
    assert code.numel() <= 3 * 224 * 224 / 3
    with torch.device("meta"):
        layers = trace(ConvolutionalAutoencoder(), torch.empty(2, 3, 224, 224))
    assert any(layer.shape == tuple(code.shape[1:]) for layer in layers)


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (5, 7)])
def test_any_size_is_given_back(size):
    network = ConvolutionalAutoencoder(channels=[4, 4, 2]).eval()
    images = torch.rand(2, 3, *size, generator=generator(0))
    assert network(images).shape == images.shape


def test_the_image_passes_through_the_code_alone():
    network = ConvolutionalAutoencoder(channels=[4, 2]).eval()
    with torch.no_grad():
        for parameter in network.encoder.parameters():
            parameter.zero_()
        first, second = network(torch.rand(2, 3, 16, 16, generator=generator(0)))
    torch.testing.assert_close(first, second)


def test_training_that_was_cut_ends_as_if_it_had_not_been(tmp_path):
    images = photographs(30)
    assert_resumes_to_the_same_bytes(
        lambda checkpoint: fit(images, checkpoint, noise=5), conv_autoencoder.Learner, tmp_path
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"channels": []}, "channels is empty"),
        ({"channels": [8, 0]}, "channels is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": 0}, "learning_rate is 0"),
    ],
)
def test_impossible_parameters_are_refused(parameters, message):
    with pytest.raises(UserError, match=message):
        ConvolutionalAutoencoder(**parameters)
