"""Attacks that know the defence, on networks that are known: what they find, and beside what."""

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
from advrob.files import store
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
    found = CONTROLS[name](moves, np.random.default_rng(1))
    assert found.dtype == moves.dtype
    assert (found != moves).any()
    for before, after in zip(moves, found, strict=True):
        assert sorted(np.abs(before).ravel()) == sorted(np.abs(after).ravel())
    again = CONTROLS[name](moves, np.random.default_rng(1))
    np.testing.assert_array_equal(found, again)


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
    chosen = samples.sample(ids, 10, "ILSVRC2012_val_*", seed=3)
    assert len(chosen) == len(set(chosen)) == 10
    assert (chosen % 2 == 1).all()
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, samples.sample(ids, 10, "ILSVRC2012_val_*", seed=3))
    assert not np.array_equal(chosen, samples.sample(ids, 10, "ILSVRC2012_val_*", seed=4))
    assert len(samples.sample(ids, 1000, None, seed=3)) == 50
    with pytest.raises(UserError, match="matches none of the 50"):
        samples.sample(ids, 10, "x*", seed=3)


def test_a_sample_is_read_with_its_labels(photographs):
    with store.read(photographs, "images/1") as file:
        found = samples.read_sample(file, 3, count=4, pattern="00*")
        assert len(found) == len(found.numbers) == 4
        assert found.ids == [IDS[number] for number in found.numbers]
        np.testing.assert_array_equal(found.images[:], file["images"][:][found.numbers])
        np.testing.assert_array_equal(found.targets.numpy(), file["labels"][:][found.numbers])
        assert len(found.classes) == 1000


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
    return levels, Sample(
        numbers, IDS, store.ImageRows(pixels, numbers), labels, ["dark", "bright", ""]
    )


@pytest.mark.parametrize("defence", ["none", "noise"])
def test_budgets_fall_from_what_is_right_to_nothing(tmp_path, monkeypatch, defence):
    bounds = {"minimum": -3, "maximum": 3} if defence == "noise" else {}
    network = Network(
        defences.build(defence, bounds, generator=generator(0)), Brightness(), mixed=True
    )
    levels, sample = shades()
    radii = [0, 8, 40, 100]
    experiment = {"radii": radii, "iterations": 5, "radius": 40, "efforts": [0, 5], "draws": 3}
    options = {"job": a_job(batch_size=12), "identity": ("budget", "m", defence)}
    found = adaptive.budgets(network, sample, experiment, checkpoint=tmp_path / "a", **options)
    assert found["radii"].tolist() == radii
    assert found["efforts"].tolist() == [0, 5]
    assert found["ids"].tolist() == IDS
    # An image falls as soon as the radius, or half a level more, takes it over the middle.
    distance = np.abs(levels.astype(float) - 127.5)
    np.testing.assert_array_equal(found["correct"][0], True)
    for row, radius in zip(found["correct"], radii, strict=True):
        sure = np.abs(distance - radius) > 4
        np.testing.assert_array_equal(row[sure], (distance > radius)[sure])
    # Without a gradient nothing falls; with five, what that radius takes.
    np.testing.assert_array_equal(found["correct_effort"][0], True)
    sure = np.abs(distance - 40) > 4
    np.testing.assert_array_equal(found["correct_effort"][1][sure], (distance > 40)[sure])
    assert found["gradients"].shape == (12,)
    assert (found["gradients"] > 0).all()

    # Cut after some batches, it goes on to the same end.
    class CutError(Exception):
        pass

    keep, saves = adaptive.keep, []

    def cut(*arguments):
        keep(*arguments)
        saves.append(1)
        if len(saves) == 5:
            raise CutError

    monkeypatch.setattr(adaptive, "keep", cut)
    with pytest.raises(CutError):
        adaptive.budgets(network, sample, experiment, checkpoint=tmp_path / "b", **options)
    again = adaptive.budgets(network, sample, experiment, checkpoint=tmp_path / "b", **options)
    # Four images at a time, since each is drawn three times: 3 batches of 4 radii and 2 efforts.
    assert len(saves) == 3 * 6
    assert again.keys() == found.keys()
    for name in found:
        np.testing.assert_array_equal(again[name], found[name])


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
    """What each of the scripts is given of a network behind a defence."""

    def given(defence: str) -> dict:
        entry = {"noise": NOISE}.get(defence)
        return {
            "images": photographs,
            "network": tiny_network(tiny_weights, defence, entry),
            "sample": {"count": 6, "pattern": None},
            "job": a_job(),
        }

    return given


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
    made = []
    for checkpoint in (tmp_path / "first", tmp_path / "second"):
        attack_script.main(**arguments, dataset=str(dataset), draws=2, checkpoint=checkpoint)
        made.append(dataset.read_bytes())
    assert made[0] == made[1]
    with store.read(dataset, "images/1") as file, store.read(photographs, "images/1") as source:
        assert len(file["images"]) == 6
        rows = [IDS.index(name) for name in store.strings(file["ids"])]
        moves = file["images"][:].astype(int) - source["images"][:][rows]
        np.testing.assert_array_equal(file["labels"][:], source["labels"][:][rows])
        distances = file["distances"][:]
        made_with = store.params(file)
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
    found = []
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
            found.append(store.strings(file["ids"]))
    assert found[0] != found[1]


def test_controls_do_not_depend_on_where_their_data_set_is(tmp_path, common):
    found = []
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
        found.append(controls.read_bytes())
    assert found[0] == found[1]


def test_the_script_of_budgets_says_what_it_tried(tmp_path, common):
    experiment = {"radii": [0, 60], "radius": 4, "efforts": [1, 3], "iterations": 3, "draws": 2}
    path = tmp_path / "budget.h5"
    said = budget_script.main(
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
    assert said == f"tiny/noise: {left:.1%} hold within the largest radius"
