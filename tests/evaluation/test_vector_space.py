"""Image space against closed forms: linear classifiers, known subspaces, known perturbations."""

import csv
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import squeezenet1_1

from advrob import defences, models
from advrob.attacks.control import controlled, signs
from advrob.errors import UserError
from advrob.evaluation import vector_space
from advrob.files import store
from advrob.findings import image_space
from advrob.job.compute import generator
from advrob.linear import linalg
from advrob.models.googlenet import GoogLeNet
from conftest import a_job, tiny_network

CPU = torch.device("cpu")
SIDE = 16
NUMBERS = 3 * SIDE**2
RANDOM = np.random.default_rng(0)


def linear(classes: int) -> nn.Module:
    """A random linear classifier whose choice does not depend on the brightness."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(NUMBERS, classes, bias=False))
    with torch.no_grad():
        weight = torch.randn(classes, NUMBERS, generator=generator(1, "linear"))
        network[1].weight.copy_(weight - weight.mean(dim=1, keepdim=True))
    return network.eval()


def pictures(count: int, low: int = 60, high: int = 200) -> np.ndarray:
    """Random images that perturbations of 20 levels do not clip."""
    return RANDOM.integers(low, high, (count, SIDE, SIDE, 3)).astype(np.uint8)


def moved(images: np.ndarray, perturbations: np.ndarray) -> np.ndarray:
    return (images + perturbations).astype(np.uint8)


def orthonormal(count: int) -> Tensor:
    values = torch.randn(NUMBERS, count, generator=generator(2, "basis"))
    return torch.linalg.qr(values).Q.T.contiguous()


def locate(
    original: np.ndarray, attacked: dict[str, np.ndarray], batch_size: int = 3, **changes: Any
) -> dict[str, np.ndarray]:
    options = {"model": linear(5), "centre": torch.zeros(NUMBERS), "basis": orthonormal(8)}
    return vector_space.displacements(
        original, attacked, batch_size=batch_size, device=CPU, **(options | changes)
    )


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.ravel().astype(float), b.ravel().astype(float)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_draw_takes_the_first_view_of_different_photographs() -> None:
    ids = [f"p{number}.jpg#{view}" for number in range(10) for view in range(3)] + ["single.jpg"]
    rows = vector_space.draw(ids, 99, generator(0))
    assert sorted(rows) == [*range(0, 30, 3), 30]
    assert list(rows) != sorted(rows)
    assert list(vector_space.draw(ids, 4, generator(0))) == list(rows[:4])
    assert set(vector_space.draw(ids, 4, generator(1))) != set(rows[:4])


def test_random_signs_keep_every_size_and_no_direction() -> None:
    original = pictures(4)
    attacked = moved(original, RANDOM.integers(-20, 21, original.shape))
    control = controlled(original, attacked, signs, np.random.default_rng(0))
    before, after = (images.astype(int) - original for images in (attacked, control))
    np.testing.assert_array_equal(np.abs(after), np.abs(before))
    # Of 3,072 independent signs.
    assert abs(cosine(before, after)) < 4 / np.sqrt(original.size)
    assert abs(np.sign(after[before != 0]).mean()) < 4 / np.sqrt(original.size)
    np.testing.assert_array_equal(
        control, controlled(original, attacked, signs, np.random.default_rng(0))
    )
    # What leaves the range is clipped, not wrapped around.
    black = np.zeros_like(original)
    assert controlled(black, black + 9, signs, np.random.default_rng(0)).max() == 9


def test_images_inside_a_subspace_have_all_their_energy_there() -> None:
    # Disjoint patches of equal levels: orthogonal directions that 8 bits can hold.
    patches = np.zeros((4, SIDE, SIDE, 3), int)
    for index in range(4):
        patches[index, 4 * index : 4 * index + 4] = 1
    basis = torch.from_numpy(patches.reshape(4, -1) / np.sqrt(patches[0].sum())).float()
    steps = np.array([[16, 8, 4, 0], [-16, 8, 4, 0], [16, -8, 4, 0]])
    original = moved(np.full((3, SIDE, SIDE, 3), 100), np.tensordot(steps, patches, 1))
    outside = np.where(np.arange(SIDE) % 2, 5, -5)[:, None, None] * np.ones((SIDE, SIDE, 3), int)
    along = 7 * patches[3]
    measures = locate(
        original,
        {"outside": moved(original, outside), "both": moved(original, outside + along)},
        centre=torch.full((NUMBERS,), 100 / 255),
        basis=basis,
    )
    np.testing.assert_allclose(
        measures["energy_original"], np.array([256, 64, 16, 0]) / 336, atol=1e-6
    )
    assert measures["energy_original"][:3].sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(measures["energy"][0], 0, atol=1e-6)
    # 7 on a quarter of the numbers, 5 on all of them, orthogonal.
    np.testing.assert_allclose(measures["energy"][1], [0, 0, 0, 49 / 4 / (49 / 4 + 25)], atol=1e-6)


def test_random_directions_have_the_share_of_the_dimensions_inside_a_span() -> None:
    original = pictures(40)
    attacked = moved(original, RANDOM.choice([-10, 10], original.shape))
    measures = locate(original, {"signs": attacked}, basis=orthonormal(96), batch_size=16)
    # The mean of 40 x 96 squares of nearly normal numbers: 2 % of it is one standard deviation.
    assert measures["energy"][0].sum() == pytest.approx(96 / NUMBERS, rel=0.1)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_displacements_have_the_lengths_and_angles_that_numpy_finds(batch_size: int) -> None:
    original = pictures(7)
    attacked = moved(original, RANDOM.integers(-20, 21, original.shape))
    attacked[2] = original[2]
    centre, basis, model = torch.rand(NUMBERS, generator=generator(3)), orthonormal(8), linear(5)
    arrays = locate(original, {"a": attacked}, batch_size, model=model, centre=centre, basis=basis)
    pixels = [images.reshape(7, -1) - 255 * centre.numpy() for images in (original, attacked)]
    components = [rows @ basis.numpy().T for rows in pixels]
    features = [
        images.transpose(0, 3, 1, 2).reshape(7, -1) / 255 for images in (original, attacked)
    ]
    for space, (here, there) in enumerate((pixels, components, features)):
        move, pairs = there - here, zip(here, there, strict=True)
        lengths, distances = (np.linalg.norm(rows, axis=1) for rows in (move, here))
        expected = {
            "l2": lengths,
            "linf": np.abs(move).max(axis=1),
            "relative": lengths / distances,
            "angle": [np.degrees(np.arccos(min(1, cosine(a, b)))) for a, b in pairs],
        }
        for name, values in expected.items():
            np.testing.assert_allclose(arrays[name][0, space], values, rtol=1e-3, atol=1e-3)
        others = [row for row in range(7) if row != 2]
        cosines = [cosine(move[i], move[j]) for i in others for j in others if i < j]
        assert arrays["similarity"][0, space] == pytest.approx(np.mean(cosines), abs=1e-4)
    logits = [model(torch.from_numpy(rows).float()).detach().numpy() for rows in features]
    np.testing.assert_array_equal(
        arrays["changed"][0], np.diff(np.argmax(logits, 2), axis=0)[0] != 0
    )


def test_one_perturbation_for_all_images_is_similar_to_itself() -> None:
    original = pictures(6)
    one = RANDOM.integers(-20, 21, original.shape[1:])
    signs = np.array([1, 1, 1, -1, -1, -1])[:, None, None, None]
    measures = locate(original, {"one": moved(original, one), "both": moved(original, signs * one)})
    np.testing.assert_allclose(measures["similarity"][0], 1, atol=1e-5)
    # Of 15 pairs 6 agree and 9 are opposite.
    np.testing.assert_allclose(measures["similarity"][1], -3 / 15, atol=1e-5)


def left(kind: str, original: np.ndarray, attacked: np.ndarray, **options: Any) -> dict[str, Any]:
    return vector_space.retained(
        defences.build(kind, options),
        original,
        {"a": attacked},
        generator=lambda start: generator(0, start),
        batch_size=2,
        device=CPU,
    )


def test_no_defence_leaves_everything() -> None:
    original = pictures(5)
    attacked = moved(original, RANDOM.integers(-20, 21, original.shape))
    attacked[3] = original[3]
    measures = left("none", original, attacked)
    for name in ("retained", "cosine"):
        assert np.isnan(measures[name][0, 3])
        np.testing.assert_allclose(np.delete(measures[name][0], 3), 1, atol=1e-6)


def test_noise_is_drawn_alike_for_both_images() -> None:
    original = pictures(5)
    attacked = moved(original, RANDOM.integers(-3, 4, original.shape))
    measures = left("noise", original, attacked, minimum=-30, maximum=30)
    np.testing.assert_allclose(measures["retained"], 1, atol=1e-5)
    np.testing.assert_allclose(measures["cosine"], 1, atol=1e-5)


def test_downsampling_removes_a_checkerboard_and_leaves_a_shift() -> None:
    original = pictures(3)
    board = np.where(np.indices((SIDE, SIDE)).sum(axis=0) % 2, 10, -10)[:, :, None]
    measures = left("downsample", original, moved(original, board), ratio=0.5)
    # Only at the border are the weights uneven.
    assert (measures["retained"] < 0.05).all()
    measures = left("downsample", original, moved(original, 10), ratio=0.5)
    np.testing.assert_allclose(measures["retained"], 1, atol=1e-4)
    np.testing.assert_allclose(measures["cosine"], 1, atol=1e-4)


def test_a_projection_leaves_the_share_inside_its_span() -> None:
    class Projection(defences.Defence):
        def forward(self, images: Tensor) -> Tensor:
            return linalg.project(images, torch.zeros(NUMBERS), basis, "projection")

    basis, original = orthonormal(96), pictures(5)
    attacked = moved(original, RANDOM.integers(-20, 21, original.shape))
    shares = vector_space.retained(
        Projection(),
        original,
        {"a": attacked},
        generator=lambda start: generator(0, start),
        batch_size=5,
        device=CPU,
    )
    moves = attacked.reshape(5, -1).astype(float) - original.reshape(5, -1)
    inside = np.linalg.norm(moves @ basis.double().numpy().T, axis=1)
    np.testing.assert_allclose(shares["retained"][0], inside / np.linalg.norm(moves, axis=1), 1e-4)
    # |Pv|^2 / (|v| |Pv|)
    np.testing.assert_allclose(shares["cosine"], shares["retained"], 1e-4)


def test_all_normals_of_a_binary_linear_classifier_are_one() -> None:
    network, images = linear(2), pictures(12)
    rows = vector_space.normals(network, images, batch_size=5, device=CPU)
    weight = network[1].weight.detach()
    normal = (weight[1] - weight[0]).unflatten(0, (3, SIDE, SIDE)).permute(1, 2, 0).flatten()
    cosines = rows @ normal / normal.norm()
    torch.testing.assert_close(cosines.abs(), torch.ones(12), atol=1e-5, rtol=0)
    spectrum = vector_space.singular_values(rows)
    np.testing.assert_allclose(spectrum, [np.sqrt(12)] + [0] * 11, atol=1e-3)
    assert image_space.dimensions(spectrum) == pytest.approx(1, abs=1e-5)


def test_normals_of_three_classes_lie_in_a_plane() -> None:
    rows = vector_space.normals(linear(3), pictures(12), batch_size=5, device=CPU)
    spectrum = vector_space.singular_values(rows)
    assert (spectrum[:2] > 0.1).all()
    np.testing.assert_allclose(spectrum[2:], 0, atol=1e-3)
    cosines = [cosine(a, b) for a in rows.numpy() for b in rows.numpy()]
    mean = (np.square(cosines).sum() - 12) / (12 * 11)
    assert image_space.dimensions(spectrum) == pytest.approx(1 / mean, rel=1e-4)


def test_without_a_gradient_there_is_no_normal() -> None:
    class Flat(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1).sum(dim=1, keepdim=True).expand(-1, 5) * 0

    rows = vector_space.normals(Flat(), pictures(3), batch_size=2, device=CPU)
    assert rows.shape == (0, NUMBERS)


def test_random_units_have_a_flat_spectrum() -> None:
    rows = vector_space.random_units(20, 20_000, generator(0))
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(20))
    spectrum = vector_space.singular_values(rows)
    np.testing.assert_allclose(
        spectrum, np.linalg.svd(rows.double().numpy(), compute_uv=False), rtol=1e-10
    )
    # Marchenko and Pastur (1967): between 1 - q and 1 + q with q = sqrt(n / d).
    edge = np.sqrt(20 / 20_000)
    assert 1 - 1.2 * edge < spectrum[-1] < spectrum[0] < 1 + 1.2 * edge
    assert image_space.dimensions(spectrum) == pytest.approx(20_000, rel=0.4)


def test_penultimate_is_what_the_networks_themselves_call_features() -> None:
    images = torch.rand(2, 3, 64, 64, generator=generator(4))
    googlenet = GoogLeNet().eval()
    lite = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    squeezenet = squeezenet1_1(weights=None).eval()
    with torch.no_grad():
        for network, expected in (
            (googlenet, googlenet.features(images)),
            (lite, lite.forward_head(lite.forward_features(images), pre_logits=True)),
            (squeezenet, squeezenet.features(images).mean(dim=(2, 3))),
        ):
            features, logits = models.penultimate(network, images)
            torch.testing.assert_close(features, expected)
            torch.testing.assert_close(logits, network(images))
            assert not any(part._forward_pre_hooks for part in network.modules())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of six photographs, after two attacks, and principal components."""
    folder = tmp_path_factory.mktemp("space")
    original = pictures(12)
    universal = moved(original, RANDOM.choice([-10, 10], original.shape[1:]))
    gradient = moved(original, RANDOM.integers(-4, 5, original.shape))
    arrays: dict[str, Any] = {
        "labels": np.arange(12),
        "ids": [f"photograph_{i // 2}.jpg#{i % 2}" for i in range(12)],
        "classes": ["a", "b"],
    }
    for name, images in (
        ("original", original),
        ("universal", universal),
        ("gradient", gradient),
    ):
        write(folder / f"{name}.h5", "images/1", {"images": images, **arrays})
    state = {
        "mean": np.full(NUMBERS, 0.5, np.float32),
        "components": orthonormal(4).numpy(),
    }
    write(folder / "pca.h5", "state/1", state)
    return folder


def write(path: Path, schema: str, arrays: dict[str, Any]) -> None:
    with store.write(path, schema, seed=0, params={}, source="a test") as file:
        store.put(file, arrays)


def analyse(folder: Path, space: Path, **changes: Any) -> str:
    keywords = {name: str(folder / f"{name}.h5") for name in ("original", "universal", "gradient")}
    defences = {"none": {}, "noise": {"minimum": -10, "maximum": 10}, "pca": {}}
    described = {
        name: tiny_network("", name, entry, learned=learned)
        for (name, entry), learned in zip(
            defences.items(), (None, None, str(folder / "pca.h5")), strict=True
        )
    }
    return importlib.import_module("vector_space").main(
        **(keywords | changes),
        space=str(space),
        model="toy",
        networks=described,
        experiment={"images": 5, "normals": 3},
        job=a_job(seed=0, batch_size=2),
    )


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A linear classifier in place of a pretrained network."""
    monkeypatch.setattr(models, "build", lambda name, entry, device: linear(5))


@pytest.mark.usefixtures("toy")
def test_from_data_sets_to_table_and_figure(folder: Path, tmp_path: Path) -> None:
    sentence = analyse(folder, tmp_path / "a.h5")
    assert sentence.startswith("toy: 4 components span ")
    analyse(folder, tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with store.read(tmp_path / "a.h5", "vector_space/1") as file:
        assert store.strings(file["attacks"]) == ["universal", "gradient", "random"]
        ids = store.strings(file["ids"])
        assert len(ids) == 5
        assert all(identity.endswith("#0") for identity in ids)
        assert len(file["singular_normals"]) == 3
        linf = file["linf"][:, 0]
    assert linf[0] == pytest.approx(10, abs=1e-4)
    assert (linf[1] < 4.001).all()

    outputs = {
        kind: str(tmp_path / f"t.{end}")
        for kind, end in {"csv": "csv", "markdown": "md", "json": "json"}.items()
    }
    importlib.import_module("table").main(
        function="image_space.table_vector_space",
        cells=[],
        options={},
        files=(str(tmp_path / "a.h5"),),
        pattern=None,
        note="A remark.",
        **outputs,
    )
    with (tmp_path / "t.csv").open(newline="") as file:
        table = {
            (row["measure"], row["vectors"], row["where"]): row for row in csv.DictReader(file)
        }
    assert float(table["retained", "gradient", "none"]["mean"]) == 1
    assert float(table["similarity", "universal", "pixels"]["mean"]) == pytest.approx(1, abs=1e-5)
    assert table["linf", "universal", "pixels"]["n"] == "5"
    text = (tmp_path / "t.md").read_text()
    assert "## toy, 5 photographs" in text
    assert "4 of 768 dimensions" in text
    assert text.endswith("A remark.\n")

    drawings = []
    for _ in range(2):
        outputs = {kind: str(tmp_path / f"f.{kind}") for kind in ("csv", "pdf", "png")}
        importlib.import_module("figure_vector_space").main(space=str(tmp_path / "a.h5"), **outputs)
        drawings.append([Path(path).read_bytes() for path in outputs.values()])
    assert drawings[0] == drawings[1]
    with (tmp_path / "f.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    assert {point["panel"] for point in points} == {
        *("energy", "singular values", "relative", "retained")
    }
    last = [point for point in points if (point["panel"], point["x"]) == ("energy", "4")]
    with store.read(tmp_path / "a.h5", "vector_space/1") as file:
        expected = [file["energy_original"][:].sum(), *file["energy"][:].sum(axis=1)]
    assert [float(point["value"]) for point in last] == pytest.approx(expected, abs=1e-6)


@pytest.mark.usefixtures("toy")
def test_data_sets_of_other_images_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    arrays = {"images": pictures(2), "labels": np.arange(2), "ids": ["a", "b"], "classes": ["a"]}
    write(other, "images/1", arrays)
    with pytest.raises(UserError, match=r"other\.h5: contains other images than"):
        analyse(folder, tmp_path / "a.h5", gradient=str(other))
