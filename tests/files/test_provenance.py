"""A file is about what its name says, or it is refused."""

import numpy as np
import pytest

from advrob.errors import UserError
from advrob.files import provenance, store
from advrob.files.provenance import check_params

PARAMS = {
    "model": "m",
    "defence": "noise",
    "settings": {"radius": 4.0, "norm": "linf", "levels": [1, 2]},
    "mean": None,
}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "s.h5"
    with store.write(file, "state/1", seed=3, params=PARAMS, source="images.h5") as opened:
        store.put(opened, {"a": np.zeros(3)})
    return file


def refusal(path, expected, **more):
    with store.read(path, "state/1") as file:
        try:
            check_params(file, expected, **more)
        except UserError as error:
            return str(error)
    return None


@pytest.mark.parametrize(
    ("expected", "more"),
    [
        ({}, {}),
        ({"model": "m"}, {}),
        (PARAMS, {"seed": 3, "source": "images.h5"}),
        ({"settings": {"norm": "linf", "radius": 4, "levels": (1, 2)}}, {"seed": 3}),
        ({"mean": None}, {}),
    ],
)
def test_a_file_that_is_what_was_expected(path, expected, more):
    assert refusal(path, expected, **more) is None


@pytest.mark.parametrize(
    ("expected", "more", "said"),
    [
        ({"defence": "none"}, {}, 'with defence "noise", expected defence "none". It'),
        ({"size": 64}, {}, "with no size, expected size 64. It"),
        ({}, {"seed": 4}, "with seed 3, expected seed 4. It"),
        ({}, {"source": "b"}, 'with source "images.h5", expected source "b". It'),
        ({"mean": 0}, {}, "with mean null, expected mean 0. It"),
        (
            {"settings": {"radius": 8, "norm": "linf"}},
            {},
            "with settings.radius 4.0, settings.levels [1, 2], "
            "expected settings.radius 8, no settings.levels. It",
        ),
        (
            {"model": "n", "defence": "o", "mean": True},
            {"seed": 4, "source": "b"},
            'with model "m", defence "noise", mean null, '
            'expected model "n", defence "o", mean true, and 2 more. It',
        ),
    ],
)
def test_a_file_that_is_something_else(path, expected, more, said):
    message = refusal(path, expected, **more) or ""
    assert message.startswith(f"{path}: was made {said}")
    assert message.endswith("Delete it and run Snakemake again.")


def test_numbers_and_truth_are_not_the_same(tmp_path):
    with store.write(tmp_path / "s", "state/1", seed=0, params={"a": 1}, source=""):
        pass
    assert "with a 1, expected a true" in (refusal(tmp_path / "s", {"a": True}) or "")
    assert refusal(tmp_path / "s", {"a": 1.0}) is None


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("images/test", {"part": "test"}),
        ("images/fit/2-of-8", {"part": "fit"}),
        ("datasets/original", {"part": "test"}),
        ("datasets/tuning", {}),
        ("datasets/pgd-m-noise", {"dataset": "pgd-m-noise"}),
        ("datasets/gradient-m-noise/1-of-2", {"dataset": "gradient-m-noise"}),
        ("datasets/tuning-universal-m-none", {"dataset": "universal-m-none"}),
        ("perturbations/published-a", {"dataset": "published-a"}),
        ("generators/gan-m-none", {"dataset": "gan-m-none"}),
        ("defences/shared/pca_50", {"defence": "pca_50"}),
        ("models/m", {"model": "m"}),
        ("analysis/vector_space/m", {"model": "m"}),
        ("scores/original/m/noise", {"dataset": "original", "model": "m", "defence": "noise"}),
        ("scores/a-m-n/m/n/1-of-2", {"dataset": "a-m-n", "model": "m", "defence": "n"}),
        ("scores/original/m/sweep-noise", {"dataset": "original", "model": "m"}),
        ("certified/original/m", {"dataset": "original", "model": "m"}),
        ("certified/original/m/n", {"dataset": "original", "model": "m", "defence": "n"}),
        ("budgets/m/noise", {"model": "m", "defence": "noise"}),
        ("controls/m/noise", {"model": "m", "defence": "noise"}),
        ("else/m", {}),
    ],
)
def test_any_reader_compares_a_result_with_its_name(tmp_path, name, params):
    file = tmp_path / "prefix/results" / f"{name}.h5"

    def write(params):
        with store.write(file, "state/1", seed=3, params=params, source="") as opened:
            store.put(opened, {"a": np.zeros(3)})

    write(params)
    with store.read(file, "state/1"):
        pass
    for key in params:
        write(params | {key: "other"})
        with (
            pytest.raises(UserError, match=rf"{key} \"other\", expected {key} \"{params[key]}\""),
            store.read(file, "state/1"),
        ):
            pass


def test_a_file_in_the_place_of_another_is_refused_when_it_is_opened(path):
    with store.read(path, "state/1", about={"model": "m", "defence": "noise"}) as file:
        assert provenance.params(file) == PARAMS
    with (
        pytest.raises(UserError, match=r's\.h5: was made with defence "noise", expected defence'),
        store.read(path, "state/1", about={"model": "m", "defence": "none"}),
    ):
        pytest.fail("it was opened")
