"""Resizing as products of matrices, against PyTorch's own."""

import pytest
import torch
from torch.nn import functional as F

from advrob.errors import UserError
from advrob.images import pixels

IMAGES = torch.rand(2, 3, 30, 41, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("side", [7, 30, 64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_resizing_is_pytorchs_antialiased_one_and_so_is_its_gradient(side, layout):
    ours = IMAGES.clone(memory_format=layout).requires_grad_()
    theirs = IMAGES.double().requires_grad_()
    resized = pixels.resize(ours, side)
    expected = F.interpolate(theirs, (side, side), mode="bilinear", antialias=True)
    torch.testing.assert_close(resized, expected.float(), rtol=0, atol=1e-6)
    assert resized.is_contiguous(memory_format=torch.channels_last)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    (ours_gradient,) = torch.autograd.grad((resized * weight).sum(), ours)
    (theirs_gradient,) = torch.autograd.grad((expected * weight).sum(), theirs)
    torch.testing.assert_close(ours_gradient, theirs_gradient.float(), rtol=0, atol=1e-5)


def test_resizing_stays_exact_where_networks_multiply_in_bfloat16():
    with torch.autocast("cpu", torch.bfloat16):
        mixed = pixels.resize(IMAGES, 20)
    assert torch.equal(mixed, pixels.resize(IMAGES, 20))


def test_a_matrix_first_made_for_predictions_serves_gradients_too():
    pixels.resizing.cache_clear()
    with torch.inference_mode():
        pixels.resize(IMAGES, 11)
    images = IMAGES.clone().requires_grad_()
    pixels.resize(images, 11).sum().backward()
    assert images.grad is not None


def test_pixels_that_are_no_numbers_are_not_stored():
    images = IMAGES.clone()
    images[1, 0, 3, 3] = float("nan")
    with pytest.raises(UserError, match=r"^1 of 2 images have pixels that are NaN, .* division"):
        pixels.to_uint8(images)
