"""Perturbations made against one model and tested on another: how often predictions change."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import table as script
from advrob.errors import UserError
from advrob.files import store
from advrob.findings import metrics, tables, transfer
from advrob.plan.names import DataSet, Network
from conftest import cell_of

# Two crops of each of four photographs, the last two of which nobody was trained on.
IDS = [
    f"{'val' if number > 1 else 'train'}_{number}.jpg#{crop}"
    for number in range(4)
    for crop in (0, 1)
]
LABELS = np.array([3, 3, 5, 5, 7, 7, 9, 9])
# What each model predicts, by the model that the perturbation was made against.
PREDICTED = {
    ("original", "a"): [3, 3, 5, 5, 7, 7, 1, 1],
    ("original", "b"): [3, 3, 5, 5, 2, 2, 9, 9],
    # Changed from right to wrong, from wrong to right, and from one wrong class to another.
    ("a", "a"): [1, 1, 1, 1, 1, 1, 9, 2],
    # One crop only.
    ("a", "b"): [3, 4, 5, 5, 2, 2, 9, 9],
    ("b", "a"): [3, 3, 5, 5, 7, 7, 1, 1],
    ("b", "b"): [0, 0, 0, 0, 0, 0, 0, 0],
}


def write(
    folder: Path, dataset: str, model: str, predicted: Sequence[int], ids: Sequence[str]
) -> str:
    """A score file; labels are those of the images' names."""
    classes = np.array(predicted)
    correct = classes == LABELS[[IDS.index(name) for name in ids]]
    arrays = {
        "predicted": classes,
        "correct": correct,
        "confidence": np.full(len(ids), 0.5, np.float32),
        "draws": correct[None],
        "ids": np.array(ids),
    }
    path = folder / dataset / model / "none.h5"
    params = {"dataset": dataset, "model": model, "defence": "none"}
    store.save(path, "scores/1", arrays, seed=0, params=params, source="a test")
    return str(path)


@pytest.fixture
def scores(tmp_path: Path) -> list[str]:
    return [
        write(tmp_path, against if against == "original" else dataset_of(against), model, row, IDS)
        for (against, model), row in PREDICTED.items()
    ]


def dataset_of(model: str) -> str:
    return DataSet("universal", Network(model)).name


def test_a_prediction_that_changes_is_fooled_right_or_wrong(scores: list[str]) -> None:
    cells = transfer.transfers(tables.read_results(scores))
    assert [(cell.against, cell.model, cell.is_own) for cell in cells] == [
        ("a", "a", True), ("a", "b", False), ("b", "a", False), ("b", "b", True)
    ]  # fmt: skip
    assert [cell.fooled.accuracy for cell in cells] == [8 / 8, 1 / 8, 0, 8 / 8]
    assert [cell.accuracy.accuracy for cell in cells] == [1 / 8, 5 / 8, 6 / 8, 0]
    # A crop of four photographs is half a photograph.
    assert (cells[1].fooled.n, cells[1].fooled.photographs) == (8, 4)
    assert (cells[1].fooled.low, cells[1].fooled.high) == metrics.wilson(1 / 2, 4)


def test_the_table_is_a_matrix_and_its_rows_are_cells(scores: list[str]) -> None:
    table = transfer.table_transfer(tables.read_results(scores))
    assert table.header == ("Made against", "a", "b")
    assert [line[0] for line in table.lines] == ["a", "b"]
    assert table.lines[0][1] == "**100.0 (51 to 100)**"
    assert table.lines[0][2].startswith("12.5 (")
    assert table.lines[1][1].startswith("0.0 (0 to ")
    assert table.lines[1][2].startswith("**100.0")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["made_against"], row["model"], row["fooling_rate"]) for row in rows] == [
        ("a", "a", 1), ("a", "b", 1 / 8), ("b", "a", 0), ("b", "b", 1)
    ]  # fmt: skip
    assert rows[1]["accuracy"] == 5 / 8
    assert rows[1]["ci_low"] < 1 / 8 < rows[1]["ci_high"]
    assert rows[1]["ci_low_accuracy"] < 5 / 8 < rows[1]["ci_high_accuracy"]
    assert table.answer == (
        "a universal perturbation fools 100.0% to 100.0% of images on the model it was made "
        "against, 0.0% to 12.5% of images on other models"
    )


def test_images_count_that_are_in_both(tmp_path: Path) -> None:
    paths = [
        write(tmp_path, "original", "a", [3, 5], [IDS[0], IDS[2]]),
        # In another order, and one of them is new.
        write(tmp_path, dataset_of("a"), "a", [5, 9, 4], [IDS[2], IDS[6], IDS[0]]),
    ]
    (cell,) = transfer.transfers(tables.read_results(paths))
    assert (cell.fooled.n, cell.fooled.accuracy, cell.accuracy.accuracy) == (2, 1 / 2, 1 / 2)


def test_without_an_image_in_both_a_sentence_says_so(tmp_path: Path) -> None:
    paths = [
        write(tmp_path, "original", "a", [3], IDS[:1]),
        write(tmp_path, dataset_of("a"), "a", [5], IDS[2:3]),
    ]
    with pytest.raises(UserError, match="a/none was scored on universal-a-none and on original im"):
        transfer.transfers(tables.read_results(paths))


def test_the_script_writes_it_of_all_images_and_of_unseen_ones(
    scores: list[str], tmp_path: Path
) -> None:
    paths = {name: str(tmp_path / f"t.{name}") for name in ("csv", "markdown", "json")}
    options = {"function": "transfer.table_transfer", "options": {}, "note": None}
    options |= {"cells": [cell_of(path) for path in scores], "scores": tuple(scores)}
    script.main(**options, pattern=None, **paths)
    assert "Images: 8, from 4 photographs." in (tmp_path / "t.markdown").read_text()
    script.main(**options, pattern="val_*", **paths)
    text = (tmp_path / "t.markdown").read_text()
    assert "Images: 4, from 2 photographs whose file name matches `val_*`." in text
    assert (tmp_path / "t.csv").read_text().splitlines()[2].startswith("a,b,4,0.000000,")
