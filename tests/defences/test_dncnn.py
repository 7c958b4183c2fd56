"""The denoiser that is learned."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import nn

from advrob import defences
from advrob.defences import dncnn
from advrob.defences.dncnn import DnCNN, Learner, stability
from advrob.errors import UserError
from advrob.files import store
from advrob.job.compute import generator
from interrupted import assert_resumes_to_the_same_bytes

CPU = torch.device("cpu")
SMALL = {"features": 8, "blocks": 1, "epochs": 3, "batch_size": 8, "crop": 16}


def photographs(count, size=24):
    """Crops of a real photograph."""
    picture = load_sample_image("flower.jpg")
    corners = np.random.default_rng(0).integers(0, 400 - size, size=(count, 2))
    return np.stack([picture[i : i + size, j : j + size] for i, j in corners])


def fit(images, checkpoint, classifier=None, **changes):
    return DnCNN(**SMALL | changes).fit(
        images, device=CPU, generator=generator(0), checkpoint=checkpoint, classifier=classifier
    )


def build(state, folder, **changes):
    with store.write(folder / "state.h5", "state/1", seed=0, params={}, source="") as file:
        store.put(file, state)
    with store.read(folder / "state.h5", "state/1") as file:
        return defences.build("dncnn", SMALL | changes, state=file)


def test_it_learns_to_remove_noise_of_every_strength(tmp_path):
    state = fit(photographs(200), tmp_path / "checkpoint", epochs=12, learning_rate=0.02)
    curve = state["training_curve"]
    assert curve.shape == (12, 2)
    assert curve[-1, 1] == state["reconstruction_error"]
    denoiser = build(state, tmp_path)
    unseen = load_sample_image("china.jpg")[:128, :128]
    clean = torch.from_numpy(unseen.copy()).permute(2, 0, 1)[None] / 255
    noise = torch.randn(clean.shape, generator=generator(0, "noise"))
    for sigma, share in ((16, 0.65), (32, 0.5), (64, 0.4)):
        noisy = clean + sigma / 255 * noise
        error = (denoiser(noisy) - clean).square().mean().item()
        assert error < share * (sigma / 255) ** 2


def test_it_begins_by_changing_nothing():
    network = DnCNN(**SMALL)
    network._begin(generator(0))
    images = torch.rand(2, 3, 16, 16, generator=generator(0, "images"))
    assert network(images).equal(images)


def test_its_noise_has_the_strengths_that_are_asked_for():
    network = DnCNN(**SMALL | {"sigmas": [10.0, 40.0]})
    images = torch.full((400, 3, 16, 16), 0.5)
    noisy, strengths = network.disturb(images, 1)
    measured = (noisy - images).std(dim=(1, 2, 3)) * 255
    torch.testing.assert_close(measured, strengths * 255, rtol=0.15, atol=0)
    assert set(strengths.mul(255).round().tolist()) == {10.0, 40.0}
    assert 150 < (strengths * 255 > 20).sum() < 250
    again, _ = network.disturb(images, 1)
    assert noisy.equal(again)
    assert not noisy.equal(network.disturb(images, 2)[0])


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (5, 7)])
def test_any_size_is_given_back(size):
    network = DnCNN(**SMALL).eval()
    images = torch.rand(2, 3, *size, generator=generator(0))
    assert network(images).shape == images.shape


class Brightness(nn.Module):
    """Two classes: darker or brighter than half, by a margin in proportion."""

    def forward(self, images):
        side = 20 * (images.mean((1, 2, 3)) - 0.5)
        return torch.stack((-side, side), dim=1)


def test_stability_is_the_cross_entropy_of_the_clean_predictions():
    clean = torch.tensor([0.6, 0.3]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    denoised = torch.tensor([0.55, 0.52]).view(2, 1, 1, 1).expand(2, 3, 4, 4).clone()
    denoised.requires_grad_()
    loss = stability(Brightness(), clean, denoised)
    # Logits of (-1, 1), where the second class is right, and of (-0.4, 0.4), where the first is.
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(0.8))) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    # Less loss is where the first gets brighter and the second darker.
    assert denoised.grad[0].max() < 0 < denoised.grad[1].min()


@pytest.mark.parametrize("classifier", [None, Brightness()])
def test_it_learns_from_squared_errors_and_from_a_classifier_where_there_is_one(classifier):
    network = DnCNN(**SMALL)
    images = torch.from_numpy(photographs(8)).permute(0, 3, 1, 2) / 255
    learner = Learner(network, generator(0), classifier)
    seed = generator(0)
    torch.randint(dncnn.SEED, (), generator=seed)  # that of the held-out images
    noisy, strengths = network.disturb(images, int(torch.randint(dncnn.SEED, (), generator=seed)))
    denoised = network(noisy)
    loss = ((denoised - images).square().mean((1, 2, 3)) / strengths**2).mean()
    if classifier is not None:
        loss = loss + dncnn.STABILITY * stability(classifier, images, denoised)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    length = torch.stack([gradient.norm() for gradient in gradients]).norm()
    learner.step(images, images, 0.001)
    for weights, gradient in zip(network.parameters(), gradients, strict=True):
        expected = gradient * (dncnn.LONGEST / length).clamp(max=1)
        torch.testing.assert_close(weights.grad, expected, rtol=1e-3, atol=1e-5)


def test_it_learns_from_the_model_that_its_entry_names(tmp_path):
    images = photographs(40)
    state = fit(images, tmp_path / "a", Brightness(), stability="a model")
    alone = fit(images, tmp_path / "b")
    assert not np.array_equal(state["last.weight"], alone["last.weight"])
    with pytest.raises(UserError, match="stability names a model, but fit gets none"):
        fit(images, tmp_path / "c", stability="a model")


def test_training_that_was_cut_ends_as_if_it_had_not_been(tmp_path):
    images = photographs(30)
    assert_resumes_to_the_same_bytes(lambda checkpoint: fit(images, checkpoint), Learner, tmp_path)


def test_no_batch_is_learned_from_beyond_a_bound():
    network = DnCNN(**SMALL)
    learner = Learner(network, generator(0))
    wild = 100 * torch.rand(8, 3, 16, 16, generator=generator(0))
    assert learner.step(wild, wild, 0.005) > 0
    lengths = [weights.grad.norm() for weights in network.parameters()]
    assert torch.stack(lengths).norm() == pytest.approx(dncnn.LONGEST, rel=1e-3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sigmas": []}, "sigmas is empty"),
        ({"sigmas": [8, 0]}, "sigmas is 0"),
        ({"features": 0}, "features is 0"),
        ({"blocks": 0}, "blocks is 0"),
        ({"learning_rate": 0}, "learning_rate is 0"),
    ],
)
def test_impossible_parameters_are_refused(parameters, message):
    with pytest.raises(UserError, match=message):
        DnCNN(**parameters)
