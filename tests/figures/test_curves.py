"""Curves against the scores that they are made of."""

import csv
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from advrob.errors import UserError
from advrob.figures import charts, curves
from advrob.files import store
from advrob.findings import metrics
from conftest import write_scores

N = 40
IDS = [f"photograph_{number // 2}.jpg#{number % 2}" for number in range(N)]
RANDOM = np.random.default_rng(0)


def write(path: Path, schema: str, params: dict[str, Any], arrays: dict[str, Any]) -> str:
    with store.write(path, schema, seed=0, params=params, source="a test") as file:
        store.put(file, arrays)
    return str(path)


def write_sweep(folder: Path, model: str) -> str:
    arrays = {
        "magnitudes": np.array([20.0, 0.0]),
        "predicted": np.zeros((2, N), np.int64),
        "correct": RANDOM.random((2, N)) < 0.6,
        "confidence": np.ones((2, N), np.float32),
        "ids": IDS,
    }
    params = {"model": model, "dataset": "original"}
    return write(folder / f"sweep-{model}.h5", "sweep/1", params, arrays)


def write_budget(folder: Path, model: str, radii: list[float], shares: list[float]) -> str:
    arrays = {
        "radii": np.array(radii),
        "correct": np.arange(N) < N * np.array(shares)[:, None],
        "efforts": np.array([1]),
        "correct_effort": np.zeros((1, N), bool),
        "gradients": np.ones(N, np.float32),
        "ids": IDS,
    }
    params = {"model": model, "defence": "none"}
    return write(folder / f"budget-{model}.h5", "budget/1", params, arrays)


def write_certificates(
    folder: Path, model: str, predicted: np.ndarray, radius: np.ndarray, **names: str
) -> str:
    """Certificates of images whose label is 0, under noise of as many strengths as there are."""
    arrays = {
        "sigmas": np.array([8.0, 16.0])[: len(predicted)],
        "predicted": predicted,
        "radius": radius,
        "counts": np.zeros(predicted.shape, np.int64),
        "labels": np.zeros(N, np.int64),
        "ids": IDS,
    }
    params = {"dataset": "original", "model": model, "draws": 100, **names}
    return write(folder / f"certified-{model}.h5", "certified/1", params, arrays)


def labels(axes: Axes) -> list[str]:
    return [str(line.get_label()) for line in axes.get_lines()]


def test_every_model_of_a_sweep_is_drawn(tmp_path: Path) -> None:
    models = [f"model_{number}" for number in range(8)]
    chart = curves.sweep(
        sweeps=[write_sweep(tmp_path, model) for model in models],
        scores=[
            write_scores(tmp_path, "original", model, "none", RANDOM.random(N) < 0.8, IDS)
            for model in models
        ],
    )
    drawn = labels(chart.figure.axes[0])
    assert len(drawn) == 2 * 8 + 2
    for model in models:
        assert f"{model}, noise" in drawn
        assert sum(label.startswith(f"{model}, no defence: ") for label in drawn) == 1
    assert drawn[-2:] == [
        "paper, no defence: 75.85 %",
        "paper, noise of an unstated magnitude: 73.05 %",
    ]
    (legend,) = chart.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == drawn


def test_a_sweep_counts_only_images_of_the_pattern(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, "m")
    curve = curves.read_sweep(path, "photograph_0.jpg")
    assert [result.n for result in curve.results] == [2, 2]
    with pytest.raises(UserError, match="none of its 40 images"):
        curves.read_sweep(path, "absent*")


def test_radii_of_a_budget_are_at_equal_distances(tmp_path: Path) -> None:
    radii, shares = [8.0, 0.0, 0.5], [0.1, 0.9, 0.5]
    chart = curves.budget(
        budgets=[write_budget(tmp_path, model, radii, shares) for model in ("a", "b")]
    )
    assert [row[:3] for row in chart.rows[:3]] == [
        ("a", "none", radius) for radius in (0.0, 0.5, 8.0)
    ]
    (axes,) = chart.figure.axes
    for line in axes.get_lines():
        assert line.get_xdata().tolist() == [0, 1, 2]
        np.testing.assert_allclose(line.get_ydata(), [90, 50, 10])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "0.5", "8"]
    assert chart.summary.endswith("the highest accuracy is 10.0%")


def test_tries_of_the_strongest_attack_are_drawn_beside_those_on_original_images(
    tmp_path: Path,
) -> None:
    def draws(*right: int) -> np.ndarray:
        return np.arange(4)[:, None] < np.resize(right, N)

    scores = [
        write_scores(tmp_path, dataset, "m", "noise", correct, IDS)
        for dataset, correct in (
            ("original", draws(4)),
            ("pgd-m-none", draws(4, 3)),
            ("pgd-m-noise", draws(3, 2)),
            ("square-m-noise", draws(3)),
        )
    ]
    chart = curves.tries(scores=scores)
    assert chart.columns[:5] == ("model", "defence", "knowledge", "attack", "tries")
    assert [row[2:5] for row in chart.rows] == [
        *(("adaptive", "pgd", count) for count in (1, 2, 3, 4)),
        *(("none", "original", count) for count in (1, 2, 3, 4)),
    ]
    (axes,) = chart.figure.axes
    assert labels(axes) == [
        "m, noise, adaptive pgd", "m, noise, original", "the majority of 4: 50.0 %"
    ]  # fmt: skip
    attacked, original, _ = axes.get_lines()
    # Three or two of four draws are right: one in two of those that are left is lost at a time.
    expected = [(3 / 4 + 2 / 4) / 2, (1 / 2 + 1 / 6) / 2, 1 / 8, 0]
    np.testing.assert_allclose(np.array(attacked.get_ydata()) / 100, expected)
    assert np.array(original.get_ydata()).tolist() == [100] * 4
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    assert chart.summary == "m, noise, adaptive pgd: 62.5% after one try, 0.0% after 4"
    with pytest.raises(UserError, match="draws random numbers"):
        curves.tries(scores=[])


def test_a_logarithmic_axis_has_ticks_where_curves_have_points() -> None:
    results = [metrics.accuracy(np.arange(N) < hits, IDS) for hits in (10, 20, 30)]
    curve = charts.Curve({"model": "m"}, "images", [20, 1000, 1_281_167], results)
    line = charts.Line(curve, "a curve", "#000000")
    (axes,) = charts.draw([line], x_label="x", title="t", scale="log").axes
    assert axes.get_xticks().tolist() == [20, 1000, 1_281_167]
    texts = [tick.get_text() for tick in axes.get_xticklabels()]
    assert texts == ["20", "1,000", "1,281,167"]


def test_bands_are_the_intervals() -> None:
    results = [metrics.accuracy(np.arange(N) < hits, IDS) for hits in (10, 30)]
    line = charts.Line(charts.Curve({}, "x", [0.0, 1.0], results), "a curve", "#000000")
    (axes,) = charts.draw([line], x_label="x", title="t").axes
    (band,) = axes.collections
    corners = {(x, round(y, 9)) for x, y in band.get_paths()[0].vertices.tolist()}
    for x, result in enumerate(results):
        assert {(x, round(100 * result.low, 9)), (x, round(100 * result.high, 9))} <= corners


def test_certified_accuracy_is_exact_at_every_radius(tmp_path: Path) -> None:
    predicted = RANDOM.integers(-1, 2, (2, N))
    radius = np.where(predicted < 0, 0, RANDOM.uniform(0, 20, (2, N)))
    path = write_certificates(tmp_path, "m", predicted, radius)
    chart = curves.certified(certified=[path], references=[])
    rows = [dict(zip(chart.columns, row, strict=True)) for row in chart.rows]
    for number, sigma in enumerate((8, 16)):
        points = [(row["radius"], row["accuracy"]) for row in rows if row["sigma"] == sigma]
        assert points[0][0] == 0
        assert points[-1][1] == 0
        for asked in RANDOM.uniform(0, points[-1][0], 50):
            # A step reaches back from its radius to the one before.
            drawn = next(accuracy for x, accuracy in points if x >= asked)
            certified = (predicted[number] == 0) & (radius[number] >= asked)
            assert drawn == pytest.approx(certified.mean())
    assert {line.get_drawstyle() for line in chart.figure.axes[0].get_lines()} == {"steps-pre"}


def test_certified_accuracy_has_wilson_intervals_of_photographs(tmp_path: Path) -> None:
    predicted = np.resize([0, 0, -1, 0, 1, 0, 0], (1, N))
    radius = np.where(predicted < 0, 0, np.resize([1.0, 2, 3, 4, 5], (1, N)))
    chart = curves.certified(certified=[write_certificates(tmp_path, "m", predicted, radius)])
    assert [row[4] for row in chart.rows] == [0, 1, 2, 3, 4, 5, 6]
    for *_, asked, n, _, low, high in chart.rows:
        certified = (predicted[0] == 0) & (radius[0] >= asked)
        # Two crops of each photograph.
        assert (n, low, high) == (N, *metrics.wilson(certified.sum() / 2, N // 2))


def test_certified_curves_are_told_apart_and_compared(tmp_path: Path) -> None:
    predicted, radius = np.zeros((2, N), int), np.full((2, N), 3.5)
    certified = [
        write_certificates(tmp_path, "a", predicted, radius),
        write_certificates(tmp_path, "b", predicted, radius, defence="jpeg"),
    ]
    references = [("first", 2.0, 0.5), ("other", 3.0, 0.4), ("first", 4.0, 0.25)]
    chart = curves.certified(certified=certified, references=references)
    (axes,) = chart.figure.axes
    assert labels(axes) == [
        *("a, none, σ = 8", "a, none, σ = 16", "b, jpeg, σ = 8", "b, jpeg, σ = 16"),
        *("first", "other"),
    ]
    lines = axes.get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines[:4]}) == 4
    assert lines[4].get_xydata().tolist() == [[2, 50], [4, 25]]
    assert [row[4:6] for row in chart.rows[:3]] == [(0, N), (3.5, N), (4, N)]
    assert "is 3.5/255" in chart.summary


def test_where_nothing_is_certified_a_curve_is_zero(tmp_path: Path) -> None:
    path = write_certificates(tmp_path, "m", np.full((1, N), -1), np.zeros((1, N)))
    chart = curves.certified(certified=[path])
    assert labels(chart.figure.axes[0]) == [
        "m, none, σ = 8",
        *(
            f"ResNet-50, {denoiser} (Salman et al. 2020)"
            for denoiser in ("no denoiser", "black-box denoiser", "white-box denoiser")
        ),
    ]
    assert [row[4:7] for row in chart.rows] == [(0, N, 0), (1, N, 0)]
    assert "is 0.0/255" in chart.summary


def test_the_script_writes_what_it_draws(tmp_path: Path) -> None:
    budget = write_budget(tmp_path, "m", [0.0, 2.0], [0.5, 0.25])
    outputs = {kind: str(tmp_path / f"figure.{kind}") for kind in ("csv", "pdf", "png")}
    importlib.import_module("curves").main(function="budget", budgets=[budget], **outputs)
    with (tmp_path / "figure.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["radius"], row["accuracy"]) for row in rows] == [
        ("0.000000", "0.500000"),
        ("2.000000", "0.250000"),
    ]


def test_a_heat_map_shows_the_numbers_of_its_rows(tmp_path: Path) -> None:
    """A prediction of `write_scores` changes where an image that was right is no longer."""
    shares = {("a", "a"): 1.0, ("a", "b"): 0.25, ("b", "a"): 0.0, ("b", "b"): 0.5}
    original = np.ones(N, bool)
    scores = [write_scores(tmp_path, "original", model, "none", original, IDS) for model in "ab"]
    scores += [
        write_scores(
            tmp_path, f"universal-{against}-none", model, "none", np.arange(N) >= N * share, IDS
        )
        for (against, model), share in shares.items()
    ]
    outputs = {kind: str(tmp_path / f"figure.{kind}") for kind in ("csv", "pdf", "png")}
    said = importlib.import_module("curves").main(function="transfer", scores=scores, **outputs)
    assert "0.0% to 25.0% of images on other models" in said
    with (tmp_path / "figure.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    drawn = {(row["made_against"], row["model"]): float(row["fooling_rate"]) for row in rows}
    assert drawn == shares
    assert Path(outputs["pdf"]).read_bytes().startswith(b"%PDF")
    axes, bar = curves.transfer(scores=scores).figure.axes
    (image,) = axes.get_images()
    np.testing.assert_allclose(image.get_array(), [[100, 25], [0, 50]])
    rates = [text.get_text().split("\n")[0] for text in axes.texts]
    assert rates == ["100.0", "25.0", "0.0", "50.0"]
    # Twenty photographs of two crops.
    low, high = metrics.wilson(5, 20)
    assert axes.texts[1].get_text() == f"25.0\n({100 * low:.0f} to {100 * high:.0f})"
    assert [text.get_color() for text in axes.texts] == ["white", "black", "black", "black"]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["a", "b"]
    assert bar.get_ylabel() == "Fooling rate, %"
