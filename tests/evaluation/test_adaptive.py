"""Attacks that know the defence, on networks of known robustness, and their controls."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image

import attack as attack_script
import budget as budget_script
import controls as controls_script
from advrob import defences, models
from advrob.attacks.control import CONTROLS
from advrob.errors import UserError
from advrob.evaluation import adaptive, samples
from advrob.evaluation.samples import Sample
from advrob.files import provenance, store
from advrob.files.rows import ImageRows
from advrob.images.pixels import to_tensor
from advrob.job.compute import generator
from advrob.networks import Network
from conftest import a_job, tiny_network

IDS = [f"{number:03}.jpeg" for number in range(12)]
NOISE = {"minimum": -4, "maximum": 4}


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_have_the_same_size(name):
    draw = np.random.default_rng(0)
    moves = draw.integers(-10, 11, (4, 6, 5, 3)).astype(np.int16)
    changed = CONTROLS[name](moves, np.random.default_rng(1))
    assert changed.dtype == moves.dtype
    assert (changed != moves).any()
    for before, after in zip(moves, changed, strict=True):
        assert sorted(np.abs(before).ravel()) == sorted(np.abs(after).ravel())
    again = CONTROLS[name](moves, np.random.default_rng(1))
    np.testing.assert_array_equal(changed, again)


def test_distances():
    originals = np.full((3, 4, 4, 3), 100, np.uint8)
    attacked = originals.copy()
    attacked[1, 0, 0, 0] = 104
    attacked[2] -= 3
    np.testing.assert_allclose(adaptive.distances(originals, attacked, "linf"), [0, 4, 3])
    np.testing.assert_allclose(
        adaptive.distances(originals, attacked, "l2"), [0, 4, 3 * 48**0.5], rtol=1e-6
    )


# Samples ----------------------------------------------------------------------------------------


def test_the_same_unseen_images_are_attacked_for_every_network():
    ids = [f"val/{'ILSVRC2012_val' if number % 2 else 'n01'}_{number}.JPEG" for number in range(50)]
    numbers = samples.sample(ids, 10, "ILSVRC2012_val_*", seed=3)
    assert len(numbers) == len(set(numbers)) == 10
    assert (numbers % 2 == 1).all()
    assert (np.diff(numbers) > 0).all()
    np.testing.assert_array_equal(numbers, samples.sample(ids, 10, "ILSVRC2012_val_*", seed=3))
    assert not np.array_equal(numbers, samples.sample(ids, 10, "ILSVRC2012_val_*", seed=4))
    assert len(samples.sample(ids, 1000, None, seed=3)) == 50
    with pytest.raises(UserError, match="matches none of the 50"):
        samples.sample(ids, 10, "x*", seed=3)


def test_a_sample_is_read_with_its_labels(photographs):
    with store.read(photographs, "images/1") as file:
        sample = samples.read_sample(file, 3, count=4, pattern="00*")
        assert len(sample) == len(sample.numbers) == 4
        assert sample.ids == [IDS[number] for number in sample.numbers]
        np.testing.assert_array_equal(sample.images[:], file["images"][:][sample.numbers])
        np.testing.assert_array_equal(sample.targets.numpy(), file["labels"][:][sample.numbers])
        assert len(sample.classes) == 1000


# Radius and effort ------------------------------------------------------------------------------


class Brightness(torch.nn.Module):
    """Three classes by how bright an image is."""

    def forward(self, images):
        mean = images.flatten(1).mean(dim=1)
        return 40 * torch.stack([0.5 - mean, mean - 0.5, torch.full_like(mean, -1.0)], dim=1)


def shades() -> tuple[np.ndarray, Sample]:
    """Grey images, dark ones of class 0 and bright ones of class 1; and how grey they are."""
    levels = np.linspace(60, 200, 12).astype(np.uint8)
    pixels = np.broadcast_to(levels[:, None, None, None], (12, 8, 8, 3)).copy()
    numbers = np.arange(12)
    labels = (levels > 127).astype(np.int64)
    return levels, Sample(numbers, IDS, ImageRows(pixels, numbers), labels, ["dark", "bright", ""])


@pytest.mark.parametrize("defence", ["none", "noise"])
def test_accuracy_falls_to_nothing_as_the_budget_grows(tmp_path, monkeypatch, defence):
    bounds = {"minimum": -3, "maximum": 3} if defence == "noise" else {}
    network = Network(
        defences.build(defence, bounds, generator=generator(0)), Brightness(), mixed=True
    )
    levels, sample = shades()
    radii = [0, 8, 40, 100]
    experiment = {"radii": radii, "iterations": 5, "radius": 40, "efforts": [0, 5], "draws": 3}
    options = {"job": a_job(batch_size=12), "identity": ("budget", "m", defence)}
    arrays = adaptive.budgets(network, sample, experiment, checkpoint=tmp_path / "a", **options)
    assert arrays["radii"].tolist() == radii
    assert arrays["efforts"].tolist() == [0, 5]
    assert arrays["ids"].tolist() == IDS
    # An image falls as soon as the radius, or half a level more, takes it over the middle.
    distance = np.abs(levels.astype(float) - 127.5)
    np.testing.assert_array_equal(arrays["correct"][0], True)
    for row, radius in zip(arrays["correct"], radii, strict=True):
        sure = np.abs(distance - radius) > 4
        np.testing.assert_array_equal(row[sure], (distance > radius)[sure])
    # Without a gradient nothing falls; with five, what that radius takes.
    np.testing.assert_array_equal(arrays["correct_effort"][0], True)
    sure = np.abs(distance - 40) > 4
    np.testing.assert_array_equal(arrays["correct_effort"][1][sure], (distance > 40)[sure])
    assert arrays["gradients"].shape == (12,)
    assert (arrays["gradients"] > 0).all()

    # Interrupted after some batches, it resumes and ends with the same result.
    class CutError(Exception):
        pass

    save_checkpoint, saves = adaptive.save_checkpoint, []

    def cut(*arguments):
        save_checkpoint(*arguments)
        saves.append(1)
        if len(saves) == 5:
            raise CutError

    monkeypatch.setattr(adaptive, "save_checkpoint", cut)
    with pytest.raises(CutError):
        adaptive.budgets(network, sample, experiment, checkpoint=tmp_path / "b", **options)
    again = adaptive.budgets(network, sample, experiment, checkpoint=tmp_path / "b", **options)
    # Four images at a time, since each is drawn three times: 3 batches of 4 radii and 2 efforts, of
    # which one is a radius, too.
    assert len(saves) == 3 * 5
    np.testing.assert_array_equal(arrays["correct_effort"][1], arrays["correct"][2])
    assert again.keys() == arrays.keys()
    for name in arrays:
        np.testing.assert_array_equal(again[name], arrays[name])


@pytest.mark.parametrize("levels", [256, None])
def test_what_rounding_takes_back_is_recorded(tmp_path, levels):
    network = Network(defences.build("none", {}, generator=None), Brightness(), mixed=True)
    shade = np.array([126, 127, 128, 129], np.uint8)
    pixels = np.broadcast_to(shade[:, None, None, None], (4, 8, 8, 3)).copy()
    labels = (shade > 127).astype(np.int64)
    rows = ImageRows(pixels, np.arange(4))
    sample = Sample(np.arange(4), IDS[:4], rows, labels, ["dark", "bright", ""])
    # No level can be moved by 0.75, but that is enough to cross the middle from 127 and 128.
    entry = {"kind": "apgd", "norm": "linf", "radius": 0.75, "iterations": 5, "levels": levels}
    options = {"draws": 1, "job": a_job(batch_size=2), "identity": ("a", "m", "none")}
    arrays = adaptive.attacked_images(
        network, sample, "a", entry, checkpoint=tmp_path / "a", **options
    )
    np.testing.assert_array_equal(arrays["images"], pixels)
    assert arrays["distances"].tolist() == [0, 0, 0, 0]
    if levels:
        assert "correct_real" not in arrays
        return
    assert arrays["correct_real"].tolist() == [True, False, False, True]
    # Resumed after the first batch, the second gives the same.
    cut = tmp_path / "cut"
    cut.write_bytes((tmp_path / "a").read_bytes()[: 2 * (8 * 8 * 3 + 1)])
    again = adaptive.attacked_images(network, sample, "a", entry, checkpoint=cut, **options)
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)


# The scripts ------------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path, tiny_weights) -> str:
    """Crops of a real photograph, labelled with what the network sees in them."""
    picture = load_sample_image("china.jpg")
    corners = np.random.default_rng(0).integers(0, 380, (10, 2))
    pixels = np.stack([picture[i : i + 32, j : j + 32] for i, j in corners])
    model = models.build("tiny", tiny_network(tiny_weights)["model_settings"])
    with torch.no_grad():
        labels = model(to_tensor(pixels)).argmax(dim=1).numpy()
    path = tmp_path / "test.h5"
    arrays = {
        "images": pixels,
        "labels": labels,
        "ids": np.array(IDS[:10], dtype=object),
        "classes": np.array([str(number) for number in range(1000)], dtype=object),
    }
    store.save(path, "images/1", arrays, seed=0, params={}, source="")
    return str(path)


@pytest.fixture
def common(tiny_weights, photographs) -> Callable[[str], dict]:
    """The arguments that the scripts share, for a network behind a defence."""

    def arguments(defence: str) -> dict:
        entry = {"noise": NOISE}.get(defence)
        return {
            "images": photographs,
            "network": tiny_network(tiny_weights, defence, entry),
            "sample": {"count": 6, "pattern": None},
            "job": a_job(),
        }

    return arguments


@pytest.mark.parametrize("kind", ["pgd", "apgd", "square"])
@pytest.mark.parametrize("defence", ["none", "noise"])
def test_scripts_attack_and_control(tmp_path, photographs, common, kind, defence):
    options = {
        "pgd": {"norm": "l2", "radius": 300, "step": 100, "iterations": 4},
        "apgd": {"norm": "linf", "radius": 8, "iterations": 4, "loss": "logits_ratio"},
        "square": {"radius": 8, "queries": 10},
    }[kind]
    dataset = tmp_path / f"a-tiny-{defence}.h5"
    arguments = common(defence) | {"attack": "a", "entry": {"kind": kind} | options}
    contents = []
    for checkpoint in (tmp_path / "first", tmp_path / "second"):
        attack_script.main(**arguments, dataset=str(dataset), draws=2, checkpoint=checkpoint)
        contents.append(dataset.read_bytes())
    assert contents[0] == contents[1]
    with store.read(dataset, "images/1") as file, store.read(photographs, "images/1") as source:
        assert len(file["images"]) == 6
        rows = [IDS.index(name) for name in store.strings(file["ids"])]
        moves = file["images"][:].astype(int) - source["images"][:][rows]
        np.testing.assert_array_equal(file["labels"][:], source["labels"][:][rows])
        distances = file["distances"][:]
        made_with = provenance.params(file)
    assert 0 < distances.max() <= options["radius"]
    if kind != "pgd":
        np.testing.assert_array_equal(distances, np.abs(moves).max(axis=(1, 2, 3)))
    assert (made_with["model"], made_with["defence"]) == ("tiny", defence)
    assert made_with["attack"] == {"kind": kind} | options
    controls = tmp_path / "controls.h5"
    controls_script.main(
        **common(defence),
        attacked=[str(dataset)],
        norms=[options.get("norm", "linf")],
        controls=str(controls),
    )
    with store.read(controls, "controls/1") as file:
        assert store.strings(file["datasets"]) == [dataset.stem]
        assert file["correct"].shape == (1, 2, 6)
        assert file["farthest"][0] == distances.max()


def test_another_seed_draws_other_images(tmp_path, common):
    entry = {"kind": "square", "radius": 8, "queries": 5}
    drawn = []
    for seed in (3, 4):
        path = tmp_path / f"{seed}.h5"
        attack_script.main(
            **common("noise") | {"job": a_job(seed=seed)},
            attack="a",
            entry=entry,
            dataset=str(path),
            draws=1,
            checkpoint=tmp_path / f"checkpoint{seed}",
        )
        with store.read(path, "images/1") as file:
            drawn.append(store.strings(file["ids"]))
    assert drawn[0] != drawn[1]


def test_controls_do_not_depend_on_where_their_data_set_is(tmp_path, common):
    contents = []
    for folder in ("here", "elsewhere"):
        (tmp_path / folder).mkdir()
        dataset = tmp_path / folder / "a-tiny-noise.h5"
        attack_script.main(
            **common("noise"),
            attack="a",
            entry={"kind": "square", "radius": 40, "queries": 2},
            dataset=str(dataset),
            draws=1,
            checkpoint=tmp_path / folder / "checkpoint",
        )
        controls = tmp_path / folder / "controls.h5"
        controls_script.main(
            **common("noise"), attacked=[str(dataset)], norms=["linf"], controls=str(controls)
        )
        contents.append(controls.read_bytes())
    assert contents[0] == contents[1]


def test_the_script_of_budgets_says_what_it_tried(tmp_path, common):
    experiment = {"radii": [0, 60], "radius": 4, "efforts": [1, 3], "iterations": 3, "draws": 2}
    path = tmp_path / "budget.h5"
    sentence = budget_script.main(
        **common("noise"),
        budget=str(path),
        experiment=experiment,
        checkpoint=tmp_path / "checkpoint",
    )
    with store.read(path, "budget/1") as file:
        assert file["radii"][:].tolist() == experiment["radii"]
        assert file["efforts"][:].tolist() == experiment["efforts"]
        assert file["correct"].shape == file["correct_effort"].shape == (2, 6)
        assert len(file["ids"]) == len(file["gradients"]) == 6
        left = file["correct"][-1].mean()
        assert left < file["correct"][0].mean()
    assert sentence == f"tiny/noise: {left:.1%} hold within the largest radius"
