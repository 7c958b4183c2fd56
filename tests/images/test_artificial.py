"""Artificial images: the same for the same seed, and with the spectrum of photographs."""

import numpy as np

from advrob.files.rows import first_rows
from advrob.images.artificial import Jigsaws


def test_images_are_the_same_whenever_they_are_read() -> None:
    images = first_rows(Jigsaws(6, 32, seed=3), None)
    assert images.shape == (6, 32, 32, 3)
    whole = images[:]
    assert whole.dtype == np.uint8
    np.testing.assert_array_equal(images[np.array([1, 4, 5])], whole[[1, 4, 5]])
    np.testing.assert_array_equal(Jigsaws(6, 32, seed=3)[2:4], whole[2:4])
    assert len(np.unique(whole.reshape(6, -1), axis=0)) == 6
    assert (Jigsaws(6, 32, seed=4)[0:1] != whole[:1]).any()
    assert Jigsaws(6, 32, seed=3)[3:3].shape == (0, 32, 32, 3)


def test_they_are_as_bright_and_varied_as_photographs_and_mostly_coarse() -> None:
    values = Jigsaws(20, 128, seed=0)[:].mean(axis=3) / 255
    assert 0.4 < values.mean() < 0.5
    spectrum = np.abs(np.fft.rfft2(values - values.mean())) ** 2
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128)[None])
    low, high = (spectrum[:, band].mean() for band in (frequency < 0.05, frequency > 0.25))
    assert low > 100 * high
