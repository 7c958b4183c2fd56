"""The tables of image space against the arrays that they summarise."""

import csv
from pathlib import Path

import numpy as np
import pytest

from advrob.findings import image_space, tables
from advrob.findings.image_space import Analysis

# Attacks, spaces, defences, images, components.
A, S, F, N, K = 2, 3, 2, 7, 12
RANDOM = np.random.default_rng(0)


@pytest.fixture
def analysis() -> Analysis:
    retained = RANDOM.random((F, A, N))
    # An image that did not move.
    retained[:, 0, 2] = np.nan
    shares = RANDOM.random((1 + A, K))
    shares /= 2 * shares.sum(axis=1, keepdims=True)
    return Analysis(
        model="m",
        attacks=["universal", "random"],
        spaces=["pixels", "components", "features"],
        defences=["none", "noise"],
        photographs=N,
        numbers=768,
        values={
            "energy_original": shares[0],
            "energy": shares[1:],
            **{name: RANDOM.random((A, S, N)) for name in ("l2", "linf", "relative", "angle")},
            "similarity": RANDOM.random((A, S)),
            "changed": RANDOM.random((A, N)) < 0.5,
            "retained": retained,
            "cosine": retained,
            "singular_normals": np.array([1.5, 1.0, 0.5]),
            "singular_random": np.ones(3),
        },
    )


def test_every_table_is_of_its_own_question(analysis: Analysis) -> None:
    sections = image_space.sections(analysis)
    measures = [{row[1] for row in table.rows} for table in sections]
    assert measures == [
        {"energy"},
        {"changed", "l2", "linf", "relative", "angle", "similarity"},
        {"retained", "cosine"},
        {"largest singular value", "smallest singular value", "dimensions"},
    ]
    assert sum(len(table.rows) for table in sections) == len(image_space.rows(analysis))
    for table in sections:
        assert all(len(line) == len(table.header) for line in table.lines)
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_numbers_are_means_over_images(analysis: Analysis) -> None:
    rows = {row[1:4]: row[4:] for row in image_space.rows(analysis)}
    values = analysis.values
    relative = values["relative"][1, 2]
    assert rows["relative", "random", "features"] == (N, relative.mean(), relative.std())
    retained = np.delete(values["retained"][1, 0], 2)
    n, mean, deviation = rows["retained", "universal", "noise"]
    assert (n, mean) == (N - 1, pytest.approx(retained.mean()))
    assert deviation == pytest.approx(retained.std())
    assert rows["energy", "random", "first 12 components"][1] == pytest.approx(0.5)
    assert rows["dimensions", "random unit vectors", "pixels"][1] == np.inf
    _, displacement, defences, _ = image_space.sections(analysis)
    assert displacement.lines[0][:3] == ("universal", "pixels", f"{values['l2'][0, 0].mean():.4g}")
    assert defences.lines[1][1] == f"{retained.mean():.3f}"


def test_measures_of_one_attack_stay_together(analysis: Analysis) -> None:
    attacks = [row[2] for row in image_space.rows(analysis) if row[1] not in ("energy",)]
    assert list(dict.fromkeys(attacks)) == [
        *("universal", "random"),
        *("normals", "random unit vectors"),
    ]
    assert attacks == sorted(attacks, key=list(dict.fromkeys(attacks)).index)


def test_the_tables_of_several_models_are_one(analysis: Analysis, tmp_path: Path) -> None:
    paths = {f"{kind}_path": str(tmp_path / f"t.{kind}") for kind in ("csv", "json")}
    table = image_space.joined([analysis, analysis])
    tables.write(table, **paths, markdown_path=str(tmp_path / "t.md"), note="A remark.")
    rows = image_space.rows(analysis)
    assert table.answer == f"m, m: {2 * len(rows)} rows"
    with (tmp_path / "t.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * len(rows)
    text = (tmp_path / "t.md").read_text()
    assert text.count("## m, 7 photographs\n") == 2
    for table in image_space.sections(analysis):
        assert text.count(f"### {table.title}\n\n| {table.header[0]} |") == 2
        assert table.remark in text
    assert text.endswith("\n\nA remark.\n")
    shown = tables.read(tmp_path / "t.json")
    assert [len(model["parts"]) for model in shown["parts"]] == [4, 4]
    energy = image_space.sections(analysis)[0]
    assert shown["parts"][1]["parts"][0]["lines"] == [list(line) for line in energy.lines]
