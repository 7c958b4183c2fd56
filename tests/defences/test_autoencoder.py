"""The autoencoder with tied weights, and what it shares with the convolutional one."""

from itertools import product
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from sklearn import decomposition
from sklearn.datasets import load_sample_image

from advrob import defences
from advrob.defences import autoencoder
from advrob.defences.autoencoder import Autoencoder, TiedWeights
from advrob.errors import UserError
from advrob.files import store
from advrob.job import compute
from advrob.job.compute import generator
from advrob.learning import fitting
from advrob.linear import linalg

CPU = torch.device("cpu")


def photographs(count, size=16):
    """Crops of two real photographs, half of the size, so that they vary on a small scale."""
    pictures = [load_sample_image(name)[::2, ::2] for name in ("flower.jpg", "china.jpg")]
    corners = np.random.default_rng(0).integers(0, 200 - size, size=(count, 2))
    return np.stack(
        [pictures[k % 2][i : i + size, j : j + size] for k, (i, j) in enumerate(corners)]
    )


def fit(images, checkpoint, seed=0, **parameters):
    return Autoencoder(**parameters).fit(
        images, device=CPU, generator=generator(seed), checkpoint=checkpoint
    )


@pytest.fixture
def checkpoint(tmp_path):
    return tmp_path / "checkpoint"


@pytest.fixture
def float32(monkeypatch):
    """Multiply in float32 even where the hardware has bfloat16."""
    monkeypatch.setattr(compute, "bfloat16", lambda device: False)


def test_better_than_as_many_principal_components_on_unseen_images(checkpoint):
    state = fit(photographs(400), checkpoint, hidden=48, epochs=6, batch_size=32)
    assert state["reconstruction_error"] < 0.97 * state["reconstruction_error_pca"]
    assert state["training_curve"].shape == (6, 2)
    assert state["training_curve"][-1, 1] == state["reconstruction_error"]


def test_error_of_the_principal_components_is_that_of_scikit_learn(checkpoint, float32):
    images = photographs(80)
    state = fit(images, checkpoint, hidden=20, epochs=1)
    training, held_out = (part[:] for part in fitting.split(images, generator(0), "test"))
    oracle = decomposition.PCA(20, svd_solver="full").fit(training.reshape(len(training), -1) / 255)
    rows = held_out.reshape(len(held_out), -1) / 255
    error = np.mean((oracle.inverse_transform(oracle.transform(rows)) - rows) ** 2)
    assert state["reconstruction_error_pca"] == pytest.approx(error, rel=1e-4)


def test_gradient_is_that_of_automatic_differentiation(float32, monkeypatch):
    monkeypatch.setattr(autoencoder, "ROWS", 3)
    draw = generator(1)
    weight = torch.randn(8, 48, generator=draw) / 7
    centre = torch.rand(48, generator=draw)
    clean, noisy = torch.rand(2, 5, 3, 4, 4, generator=draw)
    learner = TiedWeights(centre, weight.clone(), 0.0)
    reported = learner.step(clean, noisy, rate=0.1)

    leaf = weight.clone().requires_grad_()
    rows, inputs = (x.permute(0, 2, 3, 1).flatten(1) - centre for x in (clean, noisy))
    squared_error = ((inputs @ leaf.T) @ leaf - rows).square().sum()
    (gradient,) = torch.autograd.grad(squared_error / 2, leaf)
    assert reported == pytest.approx(squared_error.item(), rel=1e-5)
    torch.testing.assert_close(learner.momentum, (1 - autoencoder.MOMENTUM) * gradient)
    # The first step goes against the gradient, as long in every row as the rate says.
    direction = torch.nn.functional.normalize(gradient)
    torch.testing.assert_close(learner.weight, weight - 0.1 * direction, rtol=1e-4, atol=1e-5)


def test_encoder_and_decoder_are_tied(tmp_path, checkpoint):
    state = fit(photographs(40), checkpoint, hidden=12, epochs=1)
    path = tmp_path / "state.h5"
    with store.write(path, "state/1", seed=0, params={}, source="") as file:
        store.put(file, state)
    with store.read(path, "state/1") as file:
        defence = defences.build("autoencoder", {"hidden": 12}, state=file)
    images = photographs(3)
    rows = images.reshape(3, -1) / 255
    codes = rows @ state["weight"].T + state["bias_hidden"]
    expected = codes @ state["weight"] + state["bias_visible"]
    rebuilt = defence(torch.from_numpy(rows).float().view(3, 16, 16, 3).permute(0, 3, 1, 2))
    np.testing.assert_allclose(rebuilt.permute(0, 2, 3, 1).flatten(1), expected, atol=1e-5)


def test_noise_is_removed_rather_than_rebuilt(checkpoint, tmp_path):
    """A denoising autoencoder gives noise less room than one that has never seen any."""
    images = photographs(400)
    noise = 40 / 255 * torch.randn(64, 16 * 16 * 3, generator=generator(5))

    def remaining_noise(name, sigma):
        weight = fit(images, tmp_path / name, hidden=96, epochs=6, batch_size=32, noise=sigma)
        matrix = torch.from_numpy(np.asarray(weight["weight"]))
        return (noise @ matrix.T @ matrix).square().mean().item()

    assert remaining_noise("noisy", 40) < 0.9 * remaining_noise("clean", 0)


def test_more_hidden_units_than_images(checkpoint):
    """The units beyond the images' rank start orthogonal to the principal components."""
    images = photographs(12)
    centre = linalg.mean(images, CPU)
    weight, rank = autoencoder.principal_weights(40, images, centre, generator(0))
    assert rank == 11
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(40))
    assert (weight[:rank] @ weight[rank:].T).abs().max() < 1e-5
    state = fit(images, checkpoint, hidden=40, epochs=2)
    assert np.isfinite(state["weight"]).all()
    assert 0 < state["reconstruction_error"] < 1


class CutError(Exception):
    pass


def test_training_that_was_cut_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    images = photographs(60)
    parameters = {"hidden": 24, "epochs": 4, "batch_size": 16, "noise": 5}
    whole = fit(images, tmp_path / "whole", **parameters)
    step = TiedWeights.step

    def cut(self, *arguments, **keywords):
        if self.steps == 8:  # in the third of four epochs of three steps
            raise CutError
        return step(self, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(TiedWeights, "step", cut)
        with pytest.raises(CutError):
            fit(images, tmp_path / "cut", **parameters)
    resumed = fit(images, tmp_path / "cut", **parameters)
    for name, array in whole.items():
        assert np.asarray(array).tobytes() == np.asarray(resumed[name]).tobytes(), name
    other = fit(images, tmp_path / "other", seed=1, **parameters)
    assert not np.array_equal(other["weight"], whole["weight"])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden": 0}, "hidden is 0"),
        ({"hidden": 769}, "an image has 768 numbers"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": -1}, "learning_rate is -1"),
        ({"noise": -1}, "noise is -1"),
    ],
)
def test_impossible_parameters_are_refused(parameters, message, checkpoint):
    with pytest.raises(UserError, match=message):
        fit(photographs(20), checkpoint, **parameters)


def test_too_few_images_are_refused(checkpoint):
    with pytest.raises(UserError, match="expected at least 4"):
        fit(photographs(3), checkpoint, hidden=2)


def test_split_divides_images_without_loss(tmp_path: Path):
    images = np.arange(60, dtype=np.uint8).reshape(60, 1, 1, 1).repeat(3, axis=3)
    with h5py.File(tmp_path / "images.h5", "w") as file:
        training, held_out = fitting.split(
            file.create_dataset("x", data=images), generator(3), "test"
        )
        training, held_out = training[:], held_out[:]
    assert (len(training), len(held_out)) == (57, 3)
    assert sorted([*training[:, 0, 0, 0], *held_out[:, 0, 0, 0]]) == list(range(60))


def test_varied_images_are_mirrored_and_shifted_ones():
    size, reach = 28, 1
    images = np.random.default_rng(0).integers(0, 256, (40, size, size, 3), dtype=np.uint8)
    varied = fitting.vary(images, generator(0))
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    variants = set()
    for image, border in zip(varied, padded, strict=True):
        matches = {
            (i, j, step)
            for i, j, step in product(range(2 * reach + 1), range(2 * reach + 1), (1, -1))
            if np.array_equal(image, border[i : i + size, j : j + size][:, ::step])
        }
        assert len(matches) == 1
        variants |= matches
    assert len(variants) > 12  # of 18, by 40 draws


def test_crops_lie_anywhere_in_the_image_and_half_are_mirrored():
    images = np.random.default_rng(0).integers(0, 256, (60, 6, 9, 3), dtype=np.uint8)
    varied = fitting.vary(images, generator(0), crop=7)
    assert varied.shape == (60, 6, 7, 3)  # lower than 7 pixels: shifted by none, at this size
    variants = set()
    for image, whole in zip(varied, images, strict=True):
        matches = {
            (j, step)
            for j, step in product(range(3), (1, -1))
            if np.array_equal(image, whole[:, j : j + 7][:, ::step])
        }
        assert len(matches) == 1
        variants |= matches
    assert len(variants) == 6
