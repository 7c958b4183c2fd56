"""Published perturbations: read as they are, refused when they cannot be what is said."""

import numpy as np
import pytest
from scipy.io import savemat

from advrob.errors import UserError
from advrob.images import published

GOOD = np.random.default_rng(0).uniform(-10, 10, (8, 8, 3)).astype(np.float32)


def read(path, norm="linf", radius=10, **pixels):
    key = "perturbations.published.p"
    return published.read(path, size=8, norm=norm, radius=radius, key=key, **pixels)


def test_matlab_and_numpy_files_are_read_alike(tmp_path):
    savemat(tmp_path / "a.mat", {"r": GOOD})
    np.save(tmp_path / "b.npy", GOOD[None])
    np.testing.assert_array_equal(read(tmp_path / "a.mat"), GOOD)
    np.testing.assert_array_equal(read(tmp_path / "b.npy"), GOOD)


@pytest.mark.parametrize("pixels", ["0..255", "0..1", "-1..1"])
def test_tensors_of_networks_are_read(tmp_path, pixels):
    scale = {"0..255": 1, "0..1": 1 / 255, "-1..1": 2 / 255}[pixels]
    np.save(tmp_path / "p.npy", scale * GOOD.transpose(2, 0, 1)[None])
    np.testing.assert_allclose(read(tmp_path / "p.npy", pixels=pixels), GOOD, rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "bound", "message"),
    [
        (np.zeros((16, 16, 3)), {}, r"shape \(16, 16, 3\), expected \(8, 8, 3\)"),
        (np.full((8, 8, 3), np.nan), {}, "holds NaN or infinite values"),
        (GOOD, {"radius": 5}, "radius: the linf norm of .* is 9.9"),
        (GOOD, {"norm": "l2", "radius": 10}, "the l2 norm of .* more than the 10"),
        (
            GOOD / 255,
            {},
            r"pixels in 0\.\.1: set perturbations\.published\.p\.pixels to 0\.\.1, or",
        ),
        (np.zeros((2, 3, 8, 8)), {}, r"Of several perturbations, save one by itself"),
        (np.array(["text"]), {}, "values of type <U4, expected real numbers"),
        (0 * GOOD, {}, "holds nothing but zeros"),
    ],
)
def test_what_cannot_be_right_is_refused(tmp_path, values, bound, message):
    np.save(tmp_path / "p.npy", values)
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path / "p.npy", **bound)
    assert "perturbations.published.p." in str(error.value)


def test_files_that_are_not_arrays_are_refused(tmp_path):
    (tmp_path / "p.mat").write_text("text")
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "p.mat")
    np.save(tmp_path / "p.npy", np.array([{"code": 1}]), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "p.npy")
    savemat(tmp_path / "two.mat", {"a": GOOD, "b": GOOD})
    with pytest.raises(UserError, match="holds 2 arrays"):
        read(tmp_path / "two.mat")


@pytest.mark.parametrize("name", ["GoogLeNet.mat", "VGG-F.mat", "CaffeNet.mat", "inception5h.npy"])
def test_the_published_files_are_read(shared, name):
    values = published.read(
        shared / "perturbations" / name, size=224, norm="linf", radius=10, key="p"
    )
    assert values.shape == (224, 224, 3)
    assert abs(values).max() == pytest.approx(10, rel=1e-3)
