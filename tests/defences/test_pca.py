"""PCA and the linear algebra under it, against NumPy, scikit-learn and finite differences."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from sklearn import decomposition

from advrob import defences
from advrob.defences.pca import PCA
from advrob.errors import UserError
from advrob.files import store
from advrob.linear import linalg
from advrob.plan import components as size

CPU = torch.device("cpu")


def make_images(n: int, size: int = 8, seed: int = 0) -> np.ndarray:
    """Random photographs-to-be: smooth, correlated, with black and white pixels among them."""
    draw = np.random.default_rng(seed)
    basis = draw.normal(size=(12, size * size * 3))
    levels = 128 + draw.normal(size=(n, 12)) * np.geomspace(60, 2, 12) @ basis / 3
    levels += draw.normal(scale=3, size=levels.shape)
    return levels.clip(0, 255).astype(np.uint8).reshape(n, size, size, 3)


def fit(images: np.ndarray, /, **parameters: Any) -> dict[str, store.Array]:
    generator = torch.Generator().manual_seed(0)
    return dict(
        PCA(**parameters).fit(images, device=CPU, generator=generator, checkpoint=Path("none"))
    )


def save(path: Path, state: dict[str, store.Array]) -> Path:
    with store.write(path, "state/1", seed=0, params={}, source="test") as file:
        store.put(file, state)
    return path


def fitted(path: Path, images: np.ndarray, **parameters: Any) -> PCA:
    with store.read(save(path, fit(images, **parameters)), "state/1") as state:
        defence = defences.build("pca", parameters, state=state)
    assert isinstance(defence, PCA)
    return defence


def test_fewer_images_are_drawn_from_more(tmp_path: Path) -> None:
    images = make_images(40)
    whole, all_drawn = fit(images), fit(images, images=40)
    for name, expected in whole.items():
        if not isinstance(expected, store.StreamedArray):
            np.testing.assert_array_equal(all_drawn[name], expected, err_msg=name)
    # With nothing but black and one bright pixel, the mean tells which images were drawn.
    marked = np.zeros((40, 8, 8, 3), np.uint8)
    marked.reshape(40, -1)[np.arange(40), np.arange(40)] = 255
    drawn = []
    for n in (10, 25):
        state = fit(marked, images=n)
        assert state["images"] == n
        drawn.append(np.flatnonzero(state["mean"]))
        assert len(drawn[-1]) == n
    assert set(drawn[0]) < set(drawn[1])
    assert drawn[0].tolist() != list(range(10))


def test_images_must_be_there_and_some() -> None:
    with pytest.raises(UserError, match="images is 41, but there are 40 to fit"):
        fit(make_images(40), images=41)
    for images in (0, 1, 2.5):
        with pytest.raises(UserError, match=f"images is {images}, expected a whole number"):
            PCA(images=images)
    shape = (9000, 224, 224, 3)
    assert PCA(images=1000).memory(shape) == PCA().memory((1000, *shape[1:]))


def exact_gram(images: np.ndarray) -> np.ndarray:
    rows = images.reshape(len(images), -1).astype(np.int64)
    return rows @ rows.T


def centred(products: np.ndarray) -> np.ndarray:
    means = products.mean(axis=0)
    return products - means - means[:, None] + means.mean()


@pytest.mark.parametrize("integers", [True, False])
def test_products_are_exact_at_the_extremes(integers: bool) -> None:
    if integers and not linalg.integer_products(CPU):
        pytest.skip("this CPU has no VNNI instructions")
    products = linalg._integer_products if integers else linalg._float_products
    draw = np.random.default_rng(0)
    levels = draw.choice(np.array([0, 1, 127, 128, 254, 255], np.uint8), size=(24, 140_000))
    levels[0], levels[1] = 0, 255  # with themselves and each other, the largest sums possible
    shifted = levels.astype(np.int64) - 128
    tensor = torch.from_numpy(shifted.astype(np.int8))
    assert np.array_equal(products(tensor, tensor).numpy(), shifted @ shifted.T)


@pytest.mark.parametrize("budget", [linalg.BUDGET, 1])
def test_gram_matrix_is_centred_and_independent_of_tiles(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, budget: int
) -> None:
    images = make_images(70)
    images[0], images[1] = 0, 255
    monkeypatch.setattr(linalg, "TILE", 16)
    monkeypatch.setattr(linalg, "BUDGET", budget)
    with h5py.File(tmp_path / "images.h5", "w") as file:
        products = linalg.gram(file.create_dataset("images", data=images), CPU).numpy()
    expected = centred(exact_gram(images).astype(np.float64))
    np.testing.assert_allclose(products, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("budget", [linalg.BUDGET, 20_000])
def test_agrees_with_scikit_learn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, budget: int
) -> None:
    monkeypatch.setattr(linalg, "BUDGET", budget)
    images = make_images(60)
    rows = images.reshape(60, -1) / 255.0
    with store.read(save(tmp_path / "s.h5", fit(images, variance=0.95)), "state/1") as state:
        components = state["components"][:].astype(np.float64)
        oracle = decomposition.PCA(0.95, svd_solver="full").fit(rows)
        assert len(components) == oracle.n_components_
        np.testing.assert_allclose(np.abs(np.sum(components * oracle.components_, 1)), 1, atol=1e-6)
        full = decomposition.PCA(svd_solver="full").fit(rows)
        np.testing.assert_allclose(
            state["explained_variance"], full.explained_variance_, atol=1e-9, rtol=1e-6
        )
        np.testing.assert_allclose(
            state["explained_variance_ratio"], full.explained_variance_ratio_, atol=1e-9
        )
        np.testing.assert_allclose(state["mean"], rows.mean(axis=0), atol=1e-6)
        error = np.mean((oracle.inverse_transform(oracle.transform(rows)) - rows) ** 2)
        assert state["reconstruction_error"][()] == pytest.approx(error, rel=1e-4)
        assert state["training_curve"][-1] == pytest.approx(1)


def test_forward_projects(tmp_path: Path) -> None:
    images = make_images(60)
    defence = fitted(tmp_path / "s.h5", images, components=10)
    oracle = decomposition.PCA(10, svd_solver="full").fit(images.reshape(60, -1) / 255.0)
    new = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    rows = new.permute(0, 2, 3, 1).reshape(5, -1).numpy()
    expected = oracle.inverse_transform(oracle.transform(rows)).reshape(5, 8, 8, 3)
    projected = defence(new)
    np.testing.assert_allclose(projected.permute(0, 2, 3, 1), expected, atol=1e-5)
    torch.testing.assert_close(defence(projected), projected, atol=1e-5, rtol=0)  # a projection


def test_gradient_agrees_with_finite_differences(tmp_path: Path) -> None:
    defence = fitted(tmp_path / "s.h5", make_images(30, size=4), components=5).double()
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(defence, images)


def test_autocast_keeps_one_low_precision_copy(tmp_path: Path) -> None:
    defence = fitted(tmp_path / "s.h5", make_images(40), components=12)
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        defence(images)
    copy = defence.components.low
    assert copy is not None and copy.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        # A copy made in inference mode must still serve an attack's gradient.
        low = defence(images.requires_grad_())
        low.sum().backward()
    assert defence.components.low is copy
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, defence(images), atol=0.02, rtol=0)


def test_equal_images_give_finite_components(tmp_path: Path) -> None:
    images = np.repeat(make_images(6), 5, axis=0)
    defence = fitted(tmp_path / "s.h5", images, variance=1.0)
    components = defence.components.full
    assert len(components) == 5  # six different images around their mean
    torch.testing.assert_close(components @ components.T, torch.eye(5), atol=1e-5, rtol=0)


def test_same_images_same_bytes(tmp_path: Path) -> None:
    first, second = (
        save(tmp_path / name, fit(make_images(40))).read_bytes() for name in ("a.h5", "b.h5")
    )
    assert first == second


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"variance": 0.9, "components": 3}, "one of them"),
        ({"variance": 0.0}, "variance is 0.0"),
        ({"variance": 99}, "variance is 99"),
        ({"components": 0}, "components is 0"),
        ({"components": 30}, "29 or less"),
    ],
)
def test_mistakes_in_the_configuration(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit(make_images(30), **parameters)


def test_too_little_variety() -> None:
    with pytest.raises(UserError, match="all the same"):
        fit(np.repeat(make_images(1), 10, axis=0))
    with pytest.raises(UserError, match="5 or less"):
        fit(np.repeat(make_images(6), 5, axis=0), components=6)


def test_images_of_another_size(tmp_path: Path) -> None:
    defence = fitted(tmp_path / "s.h5", make_images(30), components=3)
    with pytest.raises(UserError, match="192 numbers"):
        defence(torch.rand(1, 3, 10, 10))


def search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have components searched for, few images at a time."""
    monkeypatch.setattr(size, "GRAM_LIMIT", 0)
    monkeypatch.setattr(linalg, "BUDGET", 16 * 192 * 7)


def test_a_search_finds_the_components(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images = make_images(150)
    exact = fit(images, components=30)
    search(monkeypatch)
    with store.read(save(tmp_path / "s.h5", fit(images, components=30)), "state/1") as state:
        components = state["components"][:].astype(np.float64)
        np.testing.assert_allclose(components @ components.T, np.eye(30), atol=1e-6)
        # Those that stand out are exact, the noise beyond them is explained nearly as well.
        oracle = decomposition.PCA(30, svd_solver="full").fit(images.reshape(150, -1) / 255.0)
        cosines = np.sum(components[:9] * oracle.components_[:9], axis=1)
        np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-5)
        np.testing.assert_allclose(
            state["explained_variance"][:9], oracle.explained_variance_[:9], rtol=1e-5
        )
        np.testing.assert_allclose(
            state["explained_variance_ratio"][:9], oracle.explained_variance_ratio_[:9], rtol=1e-5
        )
        best, error = exact["reconstruction_error"], state["reconstruction_error"][()]
        assert best < error < 1.1 * best
        rows = images.reshape(150, -1) / 255.0 - state["mean"][:]
        lost = np.mean((rows - rows @ components.T @ components) ** 2)
        assert error == pytest.approx(lost, rel=1e-3)


def test_a_search_for_a_share_of_the_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_images(150)
    exact = fit(images, variance=0.95)["components"]
    search(monkeypatch)
    monkeypatch.setattr(size, "SPAN", 40)
    components = fit(images, variance=0.95)["components"]
    assert isinstance(exact, store.StreamedArray) and isinstance(components, store.StreamedArray)
    assert components.shape == exact.shape
    with pytest.raises(UserError, match=r"40 components that are searched for explain 0\.99"):
        fit(images, variance=0.99999)


@pytest.mark.parametrize("different", [1, 6])
def test_a_search_among_equal_images(monkeypatch: pytest.MonkeyPatch, different: int) -> None:
    images = np.repeat(make_images(different), 10, axis=0)
    search(monkeypatch)
    with pytest.raises(UserError, match="all the same" if different == 1 else "span at most 5"):
        fit(images, components=8)
