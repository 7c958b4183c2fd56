"""Input transformations against other implementations of them and closed forms."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from sklearn.datasets import load_sample_image
from torch.nn import functional as F

from advrob import defences
from advrob.defences import total_variation
from advrob.errors import UserError
from advrob.files import store
from advrob.images.pixels import to_tensor, to_uint8
from advrob.job.compute import generator
from advrob.plug_ins import load


def crops(count, height, width):
    """8-bit crops of a real photograph, (N, H, W, 3)."""
    picture = load_sample_image("china.jpg")
    rng = np.random.default_rng(1)
    rows = rng.integers(0, picture.shape[0] - height, count)
    columns = rng.integers(0, picture.shape[1] - width, count)
    return np.stack(
        [picture[i : i + height, j : j + width] for i, j in zip(rows, columns, strict=True)]
    )


def gradient(defence, images, weight):
    x = images.clone().requires_grad_()
    defence.generator = generator(0, "gradient")
    (input_gradient,) = torch.autograd.grad((defence(x) * weight).sum(), x)
    return input_gradient


# JPEG -------------------------------------------------------------------------------------------


def pillow(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return Image.open(file)


@pytest.mark.parametrize("quality", [1, 10, 50, 75, 95, 100])
def test_jpeg_has_libjpegs_quantisation(quality):
    jpeg = defences.build("jpeg", {"quality": quality})
    expected = pillow(crops(1, 16, 16)[0], quality).quantization
    assert jpeg.luminance.flatten().tolist() == expected[0]
    assert jpeg.chrominance.flatten().tolist() == expected[1]


@pytest.mark.parametrize("quality", [10, 50, 75, 95])
@pytest.mark.parametrize(("height", "width"), [(224, 224), (61, 83)])
def test_jpeg_equals_pillow(quality, height, width):
    """Up to a level here and there, a quarter of one on average: libjpeg computes with integers,
    and where a coefficient is half way between two steps it may take the other one."""
    images = crops(4, height, width)
    expected = np.stack([np.asarray(pillow(image, quality)) for image in images]).astype(int)
    compressed = to_uint8(defences.build("jpeg", {"quality": quality})(to_tensor(images)))
    difference = np.abs(compressed.astype(int) - expected)
    assert difference.mean() < 0.25
    assert (difference > 3).mean() < 0.02
    assert np.abs(images.astype(int) - expected).mean() > 4 * difference.mean()


def test_jpegs_result_is_an_8_bit_image():
    levels = defences.build("jpeg", {"quality": 30})(to_tensor(crops(2, 40, 40))) * 255
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)
    assert levels.min() >= 0
    assert levels.max() <= 255


def test_jpegs_gradient_is_the_identity_for_brightness_and_blurs_colour():
    jpeg = defences.build("jpeg", {"quality": 50})
    images = 0.3 + 0.4 * to_tensor(crops(2, 32, 32))
    weight = torch.randn(images.shape, generator=generator(0, "weight"))
    input_gradient = gradient(jpeg, images, weight)
    # To change all channels of a pixel alike changes the brightness of that pixel and no other.
    torch.testing.assert_close(input_gradient.sum(1), weight.sum(1), rtol=1e-4, atol=1e-4)
    # A difference between channels that changes its sign from pixel to pixel is lost.
    checkers = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2.0 - 1
    colour = torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1) * checkers
    input_gradient = gradient(jpeg, images, colour.expand_as(images))
    assert input_gradient[..., 4:-4, 4:-4].abs().max() < 1e-5
    flat_gradient = gradient(jpeg, images, colour.abs().expand_as(images))
    assert flat_gradient[..., 4:-4, 4:-4].abs().max() > 0.5


# Bit depth --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 9))
def test_bit_depth_leaves_so_many_levels(bits):
    ramp = torch.linspace(0, 1, 1024).expand(1, 3, 1, 1024)
    rounded = defences.build("bit_depth", {"bits": bits})(ramp)
    levels = rounded.unique()
    torch.testing.assert_close(levels, torch.linspace(0, 1, 2**bits), rtol=0, atol=1e-6)
    assert (rounded - ramp).abs().max() <= 0.5 / (2**bits - 1) + 1e-6


def test_eight_bits_change_no_8_bit_image():
    images = to_tensor(crops(2, 20, 20))
    rounded = defences.build("bit_depth", {"bits": 8})(images)
    torch.testing.assert_close(rounded, images, rtol=0, atol=1e-6)


def test_bit_depths_gradient_is_the_identity():
    images = to_tensor(crops(2, 8, 8))
    weight = torch.randn(images.shape, generator=generator(0, "weight"))
    input_gradient = gradient(defences.build("bit_depth", {"bits": 2}), images, weight)
    torch.testing.assert_close(input_gradient, weight)


# Median -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_median_equals_scipy(size):
    images = crops(3, 21, 18)
    expected = ndimage.median_filter(images, size=(1, size, size, 1), mode="reflect")
    filtered = to_uint8(defences.build("median", {"size": size})(to_tensor(images)))
    np.testing.assert_array_equal(filtered, expected)


def test_a_median_of_a_window_larger_than_the_image():
    images = crops(1, 3, 4)
    expected = ndimage.median_filter(images, size=(1, 9, 9, 1), mode="reflect")
    filtered = to_uint8(defences.build("median", {"size": 9})(to_tensor(images)))
    np.testing.assert_array_equal(filtered, expected)


# Total variation --------------------------------------------------------------------------------


def objective(image, original, mask, weight):
    variation = torch.linalg.vector_norm(total_variation.gradient(image), dim=0).sum()
    return (0.5 * (mask * (image - original).square()).sum() + weight * variation).item()


def test_total_variation_without_dropping_equals_skimage():
    """skimage minimises the same (Rudin, Osher and Fatemi 1992) by another algorithm."""
    from skimage.restoration import denoise_tv_chambolle

    images = crops(2, 24, 30)
    original = to_tensor(images)
    parameters = {"drop": 0, "weight": 0.1, "iterations": 300}
    denoised = defences.build("total_variation", parameters)(original)
    expected = np.stack(
        [
            denoise_tv_chambolle(i / 255, weight=0.1, eps=0, max_num_iter=3000, channel_axis=-1)
            for i in images
        ]
    )
    expected = torch.from_numpy(expected).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(denoised, expected, rtol=0, atol=8e-3)
    ours, theirs = (objective(image, original, 1, 0.1) for image in (denoised, expected))
    assert ours == pytest.approx(theirs, rel=1e-3)


def test_total_variation_of_a_step_is_a_closed_form():
    """Each half of height a moves by weight * length / area towards the other."""
    step = torch.zeros(1, 3, 4, 16)
    step[..., 8:] = 1
    parameters = {"drop": 0, "weight": 0.4, "iterations": 300}
    denoised = defences.build("total_variation", parameters)(step)
    expected = torch.where(step > 0, 1 - 0.4 / 8, 0.4 / 8)
    torch.testing.assert_close(denoised, expected, rtol=0, atol=1e-3)


def test_total_variation_has_all_but_converged_after_its_default_iterations():
    images = to_tensor(crops(2, 32, 32))
    draws = torch.rand(images.shape, generator=generator(0, "tv"))
    mask = (draws >= 0.5).float()
    reached = []
    for iterations in (1, 10, 60, 500):
        denoised = defences.build(
            "total_variation", {"iterations": iterations}, generator=generator(0, "tv")
        )(images)
        reached.append(objective(denoised, images, mask, 0.03))
    assert reached == sorted(reached, reverse=True)
    assert reached[2] < 1.005 * reached[3]
    assert reached[0] > 1.2 * reached[3]


def test_nothing_of_a_dropped_number_passes():
    images = to_tensor(crops(2, 24, 24))
    dropped = torch.rand(images.shape, generator=generator(0, "tv")) < 0.5
    defence = defences.build("total_variation", {}, generator=generator(0, "tv"))
    denoised = defence(images)
    defence.generator = generator(0, "tv")
    from_others = defence(torch.where(dropped, 1 - images, images))
    torch.testing.assert_close(denoised, from_others, rtol=0, atol=0)
    assert (denoised - images).square().mean() < 0.02


def test_total_variations_gradient_is_the_identity():
    images = to_tensor(crops(2, 8, 8))
    weight = torch.randn(images.shape, generator=generator(0, "weight"))
    torch.testing.assert_close(
        gradient(defences.build("total_variation", {}), images, weight), weight
    )


def test_the_divergence_is_the_gradients_negative_transpose():
    z, field = torch.randn(1, 3, 5, 6), torch.randn(2, 1, 3, 5, 6)
    gradient_product = (total_variation.gradient(z) * field).sum()
    divergence_product = -(z * total_variation.divergence(field)).sum()
    torch.testing.assert_close(gradient_product, divergence_product, rtol=1e-4, atol=1e-4)


# Random resizing --------------------------------------------------------------------------------


def test_resize_pad_equals_interpolation_and_padding():
    """Every output is that of exactly one size and one position."""
    images = 0.1 + 0.9 * to_tensor(crops(8, 20, 30))
    outputs = defences.build("resize_pad", {"ratio": 0.7}, generator=generator(0, "r"))(images)
    sizes = set()
    for image, output in zip(images, outputs, strict=True):
        inside = output.sum(0) > 0
        rows, columns = (inside.any(dim).nonzero().flatten() for dim in (1, 0))
        top, left, height, width = rows[0], columns[0], len(rows), len(columns)
        sizes.add((height, width))
        expected = torch.zeros_like(image)
        expected[:, top : top + height, left : left + width] = F.interpolate(
            image[None], (height, width), mode="bilinear"
        )[0]
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    assert len(sizes) > 2


def test_resize_pad_draws_every_size_and_position_alike():
    grey = torch.full((4000, 3, 10, 10), 0.5)
    outputs = defences.build("resize_pad", {"ratio": 0.8}, generator=generator(0, "r"))(grey)
    inside = outputs[:, 0] > 0
    heights, widths = inside.any(2).sum(1), inside.any(1).sum(1)
    assert torch.equal(heights, widths)
    sizes, counts = heights.unique(return_counts=True)
    assert sizes.tolist() == [8, 9, 10]
    assert (counts - 4000 / 3).abs().max() < 5 * (4000 * 2 / 9) ** 0.5
    smallest = inside[heights == 8]
    for axis in (1, 2):
        first = smallest.any(3 - axis).int().argmax(1)
        positions, counts = first.unique(return_counts=True)
        assert positions.tolist() == [0, 1, 2]
        assert (counts - len(first) / 3).abs().max() < 5 * (len(first) * 2 / 9) ** 0.5


def test_resize_pad_to_the_whole_size_changes_nothing():
    images = to_tensor(crops(2, 16, 16))
    outputs = defences.build("resize_pad", {"ratio": 1}, generator=generator(0, "r"))(images)
    torch.testing.assert_close(outputs, images, rtol=0, atol=1e-5)


# Principal components of patches ----------------------------------------------------------------


def fitted(images, tmp_path, **parameters):
    arrays = load("defence", "patch_pca")(**parameters).fit(
        images, device=torch.device("cpu"), generator=generator(0, "p"), checkpoint=tmp_path / "c"
    )
    with store.write(tmp_path / "s.h5", "state/1", seed=0, params={}, source="") as file:
        store.put(file, arrays)
    with store.read(tmp_path / "s.h5", "state/1") as file:
        return arrays, defences.build("patch_pca", parameters, state=file)


def as_rows(images, patch):
    """Patches one by one: rows in the order channel, row, column."""
    height, width = images.shape[1:3]
    extra = ((0, 0), (0, -height % patch), (0, -width % patch), (0, 0))
    padded = np.pad(images, extra, mode="reflect")
    return np.stack(
        [
            image[i : i + patch, j : j + patch].transpose(2, 0, 1).ravel()
            for image in padded
            for i in range(0, padded.shape[1], patch)
            for j in range(0, padded.shape[2], patch)
        ]
    )


@pytest.mark.parametrize(("patch", "k"), [(4, 9), (5, 20)])
def test_patch_pca_equals_scikit_learn(patch, k, tmp_path, monkeypatch):
    from sklearn.decomposition import PCA

    from advrob.defences import patch_pca

    monkeypatch.setattr(patch_pca, "PIXELS", 3 * 22 * 23)  # several blocks
    images = crops(20, 22, 23)
    state, defence = fitted(images, tmp_path, patch=patch, components=k)
    rows = as_rows(images, patch) / 255
    oracle = PCA(k, svd_solver="full").fit(rows)
    np.testing.assert_allclose(state["mean"], oracle.mean_, atol=1e-6)
    expected = oracle.explained_variance_ * (len(rows) - 1) / len(rows)
    np.testing.assert_allclose(state["explained_variance"][:k], expected, rtol=1e-6)
    rebuilt = oracle.inverse_transform(oracle.transform(rows))
    assert state["reconstruction_error"] == pytest.approx(np.square(rebuilt - rows).mean())
    projected = defence(to_tensor(images)).permute(0, 2, 3, 1).numpy()
    corner = projected[:, :patch, :patch].transpose(0, 3, 1, 2).reshape(len(images), -1)
    per_image = len(rows) // len(images)
    np.testing.assert_allclose(corner, rebuilt[::per_image], atol=1e-5)


def test_patch_pca_keeps_the_fewest_components_for_a_share_of_the_variance(tmp_path):
    images = crops(20, 16, 16)
    state, _ = fitted(images, tmp_path, patch=4, variance=0.9)
    k = len(state["components"])
    assert state["training_curve"][k - 1] >= 0.9 > state["training_curve"][k - 2]
    whole, defence = fitted(images, tmp_path, patch=4, variance=1)
    assert len(whole["components"]) == 48
    images = to_tensor(images)
    torch.testing.assert_close(defence(images), images, rtol=0, atol=1e-4)


def test_patch_pca_says_what_cannot_be(tmp_path):
    images = crops(4, 16, 16)
    with pytest.raises(UserError, match="components is 49, but the patches of 4 x 4 pixels"):
        fitted(images, tmp_path, patch=4, components=49)
    with pytest.raises(UserError, match="patch is 17, but the images have 16 x 16 pixels"):
        fitted(images, tmp_path, patch=17)
    with pytest.raises(UserError, match="all the same"):
        fitted(np.full_like(images, 77), tmp_path, patch=4)


# Mistakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        ("jpeg", {"quality": 0}, "from 1 to 100"),
        ("jpeg", {"quality": 101}, "from 1 to 100"),
        ("bit_depth", {"bits": 0}, "from 1 to 8"),
        ("bit_depth", {"bits": 2.5}, "from 1 to 8"),
        ("median", {"size": 0}, "whole number of pixels above 0"),
        ("median", {"size": 2.5}, "whole number of pixels above 0"),
        ("total_variation", {"drop": 1}, "drop 1"),
        ("total_variation", {"weight": 0}, "expected a weight above 0"),
        ("resize_pad", {"ratio": 1.2}, "expected a fraction above 0"),
        ("patch_pca", {"patch": 0}, "whole number of pixels above 0"),
        ("patch_pca", {"variance": 0.9, "components": 3}, "patch_pca: found variance 0.9 and"),
    ],
)
def test_impossible_parameters_are_refused(kind, parameters, message):
    with pytest.raises(UserError, match=message):
        defences.build(kind, parameters)
