"""The table of robustness and its checks, from score files whose outcomes are known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image

import attack as attack_script
import controls as controls_script
from advrob import defences, models
from advrob.attacks.control import CONTROLS
from advrob.errors import UserError
from advrob.evaluation import adaptive
from advrob.files import store
from advrob.findings import robustness
from advrob.images.pixels import to_tensor
from advrob.job.compute import generator
from advrob.networks import Network

N = 100
IDS = [f"{number:03}.jpeg" for number in range(N)]


def score(folder: Path, dataset: str, defence: str, right: np.ndarray) -> str:
    """A score file; ``right`` is bool ``(N,)`` or ``(draws, N)``."""
    path = folder / f"{dataset}-{defence}.h5"
    draws = np.atleast_2d(right)
    n = draws.shape[1]
    with store.write(
        path,
        "scores/1",
        seed=0,
        params={"dataset": dataset, "model": "m", "defence": defence},
        source="",
    ) as file:
        store.put(
            file,
            {
                "predicted": np.zeros(n, np.int64),
                "correct": draws[0],
                "confidence": np.zeros(n, np.float32),
                "draws": draws,
                "ids": np.array(IDS[:n], dtype=object),
            },
        )
    return str(path)


def control(folder: Path, defence: str, datasets: list[str], right, farthest: float) -> str:
    path = folder / f"controls-{defence}.h5"
    with store.write(path, "controls/1", seed=0, params={}, source="") as file:
        store.put(
            file,
            {
                "datasets": np.array(datasets, dtype=object),
                "controls": np.array(["signs", "shuffled"], dtype=object),
                "correct": np.stack([np.stack([right, right]) for _ in datasets]),
                "farthest": np.full(len(datasets), farthest),
                "ids": np.array(IDS, dtype=object),
            },
        )
    return str(path)


def budget(folder: Path, defence: str, shares: list[float], gradient: float = 1.0) -> str:
    path = folder / f"budget-{defence}.h5"
    curve = np.stack([first(share) for share in shares])
    with store.write(path, "budget/1", seed=0, params={}, source="") as file:
        store.put(
            file,
            {
                "radii": np.arange(len(shares), dtype=np.float64),
                "correct": curve,
                "efforts": np.arange(1, len(shares) + 1),
                "correct_effort": curve,
                "gradients": np.full(N, gradient, np.float32),
                "ids": np.array(IDS, dtype=object),
            },
        )
    return str(path)


def first(share: float) -> np.ndarray:
    """The first images are right."""
    return np.arange(N) < share * N


def last(share: float) -> np.ndarray:
    """The last images are right."""
    return first(share)[::-1]


@pytest.fixture
def scores(tmp_path) -> list[str]:
    """A model alone and behind noise: original, one attack each, and one without gradients."""
    given = {
        ("original", "none"): first(0.8),
        ("pgd-m-none", "none"): first(0.1),
        ("square-m-none", "none"): last(0.5),
        ("original", "noise"): first(0.7),
        ("pgd-m-none", "noise"): first(0.6),
        ("square-m-none", "noise"): first(0.95),
        ("pgd-m-noise", "noise"): first(0.2),
        ("square-m-noise", "noise"): last(0.9),
    }
    return [score(tmp_path, *key, right) for key, right in given.items()]


def test_the_worst_case_is_of_adaptive_attacks_image_by_image(scores):
    table, worst = robustness.table_robustness(robustness.read_outcomes(scores))
    rows = {tuple(row[:4]): row for row in table.rows}
    # Alone: right on the first 80 originals, the first 10 under PGD, the last 50 under Square.
    assert rows["m", "none", "adaptive", "worst case"][5] == 0
    # Behind noise: the first 20 under PGD, all but the first 10 under Square.
    assert rows["m", "noise", "adaptive", "worst case"][5] == pytest.approx(0.1)
    assert [cell.result.accuracy for cell in worst] == [0, pytest.approx(0.1)]
    assert rows["m", "noise", "static", "pgd"][5] == pytest.approx(0.6)
    assert rows["m", "noise", "adaptive", "pgd"][5] == pytest.approx(0.2)
    assert ("m", "none", "static", "pgd") not in rows
    assert {row[2] for row in table.rows} == {"none", "static", "adaptive"}
    line = dict(zip(table.header, table.lines[1], strict=True))
    assert line["static: pgd"].startswith("60.0 (")
    assert line["adaptive: pgd"].startswith("20.0 (")
    assert line["adaptive: worst case"].startswith("10.0 (")
    assert dict(zip(table.header, table.lines[0], strict=True))["static: pgd"] == "–"


def test_most_draws_decide(tmp_path):
    draws = np.array([[True, True, False], [True, False, False], [False, True, False]])
    path = score(tmp_path, "original", "noise", draws)
    (network,) = robustness.read_outcomes([path])
    outcome = network.outcomes["original"]
    assert list(outcome.right.values()) == [True, True, False]
    accuracies = draws.mean(axis=1)
    assert outcome.spread.deviation == pytest.approx(accuracies.std(ddof=1))


def test_only_images_that_were_attacked_count(tmp_path, scores):
    scores[1] = score(tmp_path, "pgd-m-none", "none", first(0.1)[:40])
    table, _ = robustness.table_robustness(robustness.read_outcomes(scores))
    counted = {row[1]: row[4] for row in table.rows}
    assert counted == {"none": 40, "noise": 100}


def checks_of(scores, tmp_path, *, controls=0.75, farthest=4.0, curve=(0.8, 0.4, 0.0), length=1.0):
    networks = robustness.read_outcomes(scores)
    robustness.add_checks(
        networks,
        [budget(tmp_path, name, list(curve), length) for name in ("none", "noise")],
        [
            control(tmp_path, name, [f"pgd-m-{name}"], first(controls), farthest)
            for name in ("none", "noise")
        ],
        {"pgd": 4, "square": 4},
        ["square"],
    )
    return networks


def failed(networks) -> set[tuple[str, str]]:
    return {
        (network.defence, check.name)
        for network in networks
        for check in network.checks
        if not check.passed
    }


def test_a_sound_evaluation_passes(scores, tmp_path):
    networks = checks_of(scores, tmp_path)
    assert failed(networks) == set()
    assert len(networks[1].checks) > len(networks[0].checks) > 5
    table, _ = robustness.table_robustness(networks)
    assert {row[-1] for row in table.rows} == {"passed"}
    checks = robustness.table_checks(networks)
    assert {row[4] for row in checks.rows} == {"true"}
    assert len(checks.rows) == sum(len(network.checks) for network in networks)


BOTH = ("none", "noise")


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"controls": 0.05}, {("noise", "beats signs"), ("noise", "beats shuffled")}),
        ({"farthest": 5.0}, {(name, "stays in bounds") for name in BOTH}),
        ({"curve": (0.8, 0.4, 0.3)}, {(name, "falls to nothing") for name in BOTH}),
        (
            {"curve": (0.4, 0.8, 0.0)},
            {(name, f"falls with the {what}") for name in BOTH for what in ("radius", "effort")},
        ),
        ({"length": 0.0}, {(name, "has gradients") for name in BOTH}),
        ({"length": np.nan}, {(name, "has gradients") for name in BOTH}),
    ],
)
def test_an_unsound_one_fails_and_is_marked(scores, tmp_path, changes, names):
    networks = checks_of(scores, tmp_path, **changes)
    assert failed(networks) == names
    table, _ = robustness.table_robustness(networks)
    for network in networks:
        marks = {row[-1] for row in table.rows if row[1] == network.defence}
        mine = [name for defence, name in names if defence == network.defence]
        assert len(marks) == 1
        assert all(name in next(iter(marks)) for name in mine)


@pytest.mark.parametrize(
    ("dataset", "weaker"),
    [("pgd-m-none", "pgd-m-none"), ("square-m-noise", "square-m-noise")],
)
def test_an_attack_that_knows_more_but_does_less_fails(scores, tmp_path, dataset, weaker):
    # What was made against the model alone, or without gradients, beats what knows the network.
    scores = [path for path in scores if Path(path).name != f"{dataset}-noise.h5"]
    scores.append(score(tmp_path, dataset, "noise", first(0.02)))
    assert failed(checks_of(scores, tmp_path)) == {("noise", f"as strong as {weaker}")}


def test_a_missing_score_is_told(tmp_path, scores):
    scores[6] = score(tmp_path, "pgd-m-noise", "noise", first(0.1)[:40])
    with pytest.raises(UserError, match=r"pgd-m-noise: has no score of 040\.jpeg and 59 more"):
        checks_of(scores, tmp_path)


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


def test_the_same_unseen_images_are_attacked_for_every_network():
    ids = [f"val/{'ILSVRC2012_val' if number % 2 else 'n01'}_{number}.JPEG" for number in range(50)]
    chosen = adaptive.sample(ids, 10, "ILSVRC2012_val_*", seed=3)
    assert len(chosen) == len(set(chosen)) == 10
    assert (chosen % 2 == 1).all()
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, adaptive.sample(ids, 10, "ILSVRC2012_val_*", seed=3))
    assert len(adaptive.sample(ids, 1000, None, seed=3)) == 50
    with pytest.raises(UserError, match="matches none of the 50"):
        adaptive.sample(ids, 10, "x*", seed=3)


class Brightness(torch.nn.Module):
    """Three classes by how bright an image is."""

    def forward(self, images):
        mean = images.flatten(1).mean(dim=1)
        return 40 * torch.stack([0.5 - mean, mean - 0.5, torch.full_like(mean, -1.0)], dim=1)


@pytest.mark.parametrize("defence", ["none", "noise"])
def test_budgets_fall_from_what_is_right_to_nothing(tmp_path, defence):
    bounds = {"minimum": -3, "maximum": 3} if defence == "noise" else {}
    network = Network(
        defences.build(defence, bounds, generator=generator(0)), Brightness(), mixed=True
    )
    levels = np.linspace(60, 200, 12).astype(np.uint8)
    pixels = np.broadcast_to(levels[:, None, None, None], (12, 8, 8, 3)).copy()
    labels = (to_tensor(pixels).flatten(1).mean(dim=1) > 0.5).long()
    trials = [adaptive.Trial(radius, 5) for radius in (0, 8, 40, 100)]
    settings = {
        "draws": 3,
        "batch_size": 12,
        "device": torch.device("cpu"),
        "generator": lambda trial, start: generator(1, trial, start),
    }
    right, lengths = adaptive.budgets(
        network, pixels, labels, trials, checkpoint=tmp_path / "a", **settings
    )
    # An image falls as soon as the radius, or half a level more, takes it over the middle.
    distance = np.abs(levels.astype(float) - 127.5)
    np.testing.assert_array_equal(right[0], True)
    for row, trial in zip(right, trials, strict=True):
        sure = np.abs(distance - trial.radius) > 4
        np.testing.assert_array_equal(row[sure], (distance > trial.radius)[sure])
    assert (lengths > 0).all()
    # Cut after some batches, it goes on to the same end.
    calls = iter(range(5))

    def cut(trial, start):
        next(calls)
        return generator(1, trial, start)

    with pytest.raises((StopIteration, RuntimeError)):
        adaptive.budgets(
            network,
            pixels,
            labels,
            trials,
            checkpoint=tmp_path / "b",
            **(settings | {"generator": cut}),
        )
    again, _ = adaptive.budgets(
        network, pixels, labels, trials, checkpoint=tmp_path / "b", **settings
    )
    np.testing.assert_array_equal(again, right)


@pytest.fixture
def photographs(tmp_path, tiny_weights) -> str:
    """Crops of a real photograph, labelled with what the network sees in them."""
    picture = load_sample_image("china.jpg")
    corners = np.random.default_rng(0).integers(0, 380, (10, 2))
    pixels = np.stack([picture[i : i + 32, j : j + 32] for i, j in corners])
    model = models.build("tiny", tiny(tiny_weights)["model_settings"])
    with torch.no_grad():
        labels = model(to_tensor(pixels)).argmax(dim=1).numpy()
    path = tmp_path / "test.h5"
    with store.write(path, "images/1", seed=0, params={}, source="") as file:
        store.put(
            file,
            {
                "images": pixels,
                "labels": labels,
                "ids": np.array(IDS[:10], dtype=object),
                "classes": np.array([str(number) for number in range(1000)], dtype=object),
            },
        )
    return str(path)


def tiny(weights: Path) -> dict:
    return {
        "model": "tiny",
        "model_settings": {"kind": "timm", "architecture": "test_resnet", "weights": str(weights)},
        "state": [],
        "pattern": None,
        "batch_size": 4,
        "device": "cpu",
        "seed": 3,
    }


@pytest.mark.parametrize("kind", ["pgd", "apgd", "square"])
@pytest.mark.parametrize("defence", ["none", "noise"])
def test_scripts_attack_and_control(tmp_path, tiny_weights, photographs, kind, defence):
    bounds = {"minimum": -4, "maximum": 4} if defence == "noise" else {}
    network = tiny(tiny_weights) | {"defence": defence, "defence_settings": bounds, "limit": 6}
    options = {
        "pgd": {"norm": "l2", "radius": 300, "step": 100, "iterations": 4},
        "apgd": {"norm": "linf", "radius": 8, "iterations": 4, "loss": "logits_ratio"},
        "square": {"radius": 8, "queries": 10},
    }[kind]
    dataset = tmp_path / f"a-tiny-{defence}.h5"
    arguments = network | {"images": photographs, "attack": "a", "settings": {"kind": kind}}
    arguments["settings"] |= options
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
    assert 0 < distances.max() <= options["radius"]
    if kind != "pgd":
        np.testing.assert_array_equal(distances, np.abs(moves).max(axis=(1, 2, 3)))
    controls = tmp_path / "controls.h5"
    controls_script.main(
        **network,
        images=photographs,
        attacked=[str(dataset)],
        norms=[options.get("norm", "linf")],
        controls=str(controls),
    )
    with store.read(controls, "controls/1") as file:
        assert store.strings(file["datasets"]) == [dataset.stem]
        assert file["correct"].shape == (1, 2, 6)
        assert file["farthest"][0] == distances.max()


def test_controls_do_not_depend_on_where_their_data_set_is(tmp_path, tiny_weights, photographs):
    network = tiny(tiny_weights) | {"defence": "noise", "limit": 6}
    network["defence_settings"] = {"minimum": -40, "maximum": 40}
    found = []
    for folder in ("here", "elsewhere"):
        (tmp_path / folder).mkdir()
        dataset = tmp_path / folder / "a-tiny-noise.h5"
        attack_script.main(
            **network,
            images=photographs,
            attack="a",
            settings={"kind": "square", "radius": 40, "queries": 2},
            dataset=str(dataset),
            draws=1,
            checkpoint=tmp_path / folder / "checkpoint",
        )
        controls = tmp_path / folder / "controls.h5"
        controls_script.main(
            **network,
            images=photographs,
            attacked=[str(dataset)],
            norms=["linf"],
            controls=str(controls),
        )
        found.append(controls.read_bytes())
    assert found[0] == found[1]
