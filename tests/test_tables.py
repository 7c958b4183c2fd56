import csv
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from advrob import metrics, paper, store, tables
from advrob.errors import UserError

N = 40
IDS = [
    f"val/n01440764/{'ILSVRC2012_val' if i % 4 == 0 else 'n01440764'}_{i}.JPEG" for i in range(N)
]


def score(folder: Path, dataset: str, model: str, defence: str, hits: int, n: int = N) -> str:
    path = folder / dataset / model / f"{defence}.h5"
    params = {"dataset": dataset, "model": model, "defence": defence}
    with store.write(path, "scores/1", seed=0, params=params, source="a test") as file:
        correct = np.arange(n) < hits
        arrays = {
            "predicted": np.where(correct, 0, 1).astype(np.int64),
            "correct": correct,
            "confidence": np.full(n, 0.5, np.float32),
            "ids": np.array(IDS[:n]),
        }
        store.put(file, arrays)
    return str(path)


def make(
    folder: Path,
    number: int | str,
    scores: Sequence[str],
    pattern: str | None = None,
    **extra: object,
) -> tuple[list[dict[str, str]], str]:
    """Run the script of a table and read back what it wrote."""
    outputs = {"csv": str(folder / "table.csv"), "markdown": str(folder / "table.md")}
    script = importlib.import_module(f"table_{number}")
    script.main(scores=scores, pattern=pattern, note="A remark.", **outputs, **extra)
    with Path(outputs["csv"]).open(newline="") as file:
        return list(csv.DictReader(file)), Path(outputs["markdown"]).read_text()


def numbers(row: Mapping[str, str], *names: str) -> list[float]:
    return [float(row[name]) for name in names]


def test_table_1(tmp_path: Path) -> None:
    scores = [
        score(tmp_path, "original", "lite", "none", 30),
        score(tmp_path, "universal-lite-none", "lite", "noise", 20),
        score(tmp_path, "universal-lite-noise", "lite", "noise", 10),
    ]
    rows, text = make(tmp_path, 1, scores)
    header = ["dataset", "model", "defence", "n", "correct", "accuracy", "ci_low", "ci_high"]
    assert list(rows[0]) == header
    assert [row["defence"] for row in rows] == ["none", "noise", "noise"]
    assert [int(row["correct"]) for row in rows] == [30, 20, 10]
    assert numbers(rows[0], "accuracy", "ci_low", "ci_high") == pytest.approx(
        (0.75, *metrics.wilson(30, N)), abs=1e-6
    )
    lines = text.splitlines()
    assert "| original | none | lite | none | 40 | 75.00 | 59.8 to 85.8 | 75.85 |" in lines
    assert any("| matched |" in line and line.endswith("62.45 |") for line in lines)
    # The paper attacked no network through its defence.
    assert any("| adaptive |" in line and line.endswith("– |") for line in lines)
    assert "40, from 40 photographs. Intervals are 95 % Wilson" in text
    assert text.endswith("\n\nA remark.\n")


def test_a_pattern_counts_only_unseen_images(tmp_path: Path) -> None:
    scores = [score(tmp_path, "original", "lite", "none", 30)]
    rows, text = make(tmp_path, 1, scores, "ILSVRC2012_val_*")
    assert (rows[0]["n"], rows[0]["correct"]) == ("10", "8")
    assert "whose file name matches `ILSVRC2012_val_*`" in text
    with pytest.raises(UserError, match=r"none of its 40 images has a file name like 'x\*'"):
        make(tmp_path, 1, scores, "x*")


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("original", "none"),
        ("universal-lite-none", "matched"),
        ("universal-lite-pca", "adaptive"),
        ("universal-lite-noise", "transferred"),
        ("universal-google-none", "transferred"),
        ("universal-google-pca", "transferred"),
        ("gradient-lite-pca", "adaptive"),
        ("published-vgg16", "published"),
    ],
)
def test_relation(dataset: str, expected: str) -> None:
    assert tables.relation(dataset, "lite", "pca") == expected


def test_relation_of_no_defence() -> None:
    assert tables.relation("universal-lite-none", "lite", "none") == "matched"


def test_table_2_scores_each_network_on_the_images_made_against_the_other(tmp_path: Path) -> None:
    scores = [
        score(tmp_path, "gradient-lite-pca", "lite", "none", 24),
        score(tmp_path, "gradient-lite-none", "lite", "pca", 8),
        score(tmp_path, "gradient-lite-none", "lite", "none", 0),
    ]
    rows, text = make(tmp_path, 2, scores, pairs=[["none", "pca"]])
    assert ",".join(rows[0]) == (
        "model,network_a,network_b,n,accuracy_a,ci_low_a,ci_high_a,accuracy_b,ci_low_b,ci_high_b"
    )
    (row,) = rows
    assert [row["model"], row["network_a"], row["network_b"], row["n"]] == [
        *("lite", "none", "pca", "40")
    ]
    expected = (0.6, *metrics.wilson(24, N), 0.2, *metrics.wilson(8, N))
    assert numbers(row, *list(row)[4:]) == pytest.approx(expected, abs=1e-6)
    assert "| 60.00 | 44.6 to 73.7 | 35.50 | 20.00 |" in text


def test_table_2_names_what_it_lacks(tmp_path: Path) -> None:
    scores = [score(tmp_path, "gradient-lite-pca", "lite", "none", 24)]
    with pytest.raises(UserError, match=r"results/scores/gradient-lite-none/lite/pca\.h5"):
        make(tmp_path, 2, scores, pairs=[["none", "pca"]])
    scores.append(score(tmp_path, "gradient-lite-none", "lite", "pca", 3, n=20))
    with pytest.raises(UserError, match="40 images and lite/pca on 20"):
        make(tmp_path, 2, scores, pairs=[["none", "pca"]])


def test_table_3(tmp_path: Path) -> None:
    ratios = {"downsample": 0.5, "downsample_75": 0.75}
    scores = [
        score(tmp_path, dataset, "lite", defence, hits)
        for dataset, hits in (("original", 32), ("universal-lite-none", 22))
        for defence in ratios
    ]
    rows, text = make(tmp_path, 3, scores, ratios=ratios)
    assert ",".join(rows[0]) == (
        "model,ratio,n,accuracy_original,ci_low_original,ci_high_original,"
        "accuracy_universal,ci_low_universal,ci_high_universal"
    )
    assert [float(row["ratio"]) for row in rows] == [0.5, 0.75]
    assert numbers(rows[1], "accuracy_original", "accuracy_universal") == [0.8, 0.55]
    line = "| lite | 75 % | 40 | 80.00 | 65.2 to 89.5 | 70.45 | universal-lite-none | matched |"
    assert line in text
    with pytest.raises(UserError, match="scores on 0 attacked data sets"):
        make(tmp_path, 3, scores[:2], ratios=ratios)


def test_comparisons(tmp_path: Path) -> None:
    scores = [
        score(tmp_path, dataset, "lite", defence, hits)
        for dataset, defence, hits in (
            ("original", "none", 30),
            ("original", "noise", 29),
            ("universal-lite-none", "none", 10),
            ("universal-lite-none", "noise", 20),
        )
    ]
    rows, text = make(tmp_path, "comparisons", scores)
    assert ",".join(rows[0]) == (
        "dataset,model,defence,n,photographs,difference,wins,losses,p,p_holm"
    )
    assert [(row["dataset"], row["defence"]) for row in rows] == [
        ("original", "noise"),
        ("universal-lite-none", "noise"),
    ]
    assert numbers(rows[0], *list(rows[0])[3:]) == [40, 40, -0.025, 0, 1, 1, 1]
    # Ten of ten: 2 / 2^10, and twice that for two comparisons.
    expected = [40, 40, 0.25, 10, 0, 2 / 2**10, 4 / 2**10]
    assert numbers(rows[1], *list(rows[1])[3:]) == pytest.approx(expected, abs=1e-6)
    line = "| universal-lite-none | matched | lite | noise | +25.00 | 10 | 0 | 0.002 | 0.0039 |"
    assert line in text.splitlines()
    assert "corrected for the 2 comparisons of this table after Holm" in text
    assert "Wilson" not in text
    rows, _ = make(tmp_path, "comparisons", scores, "ILSVRC2012_val_*")
    assert rows[1]["n"] == "10"


def test_comparisons_are_of_the_same_images(tmp_path: Path) -> None:
    scores = [score(tmp_path, "original", "lite", "noise", 30)]
    with pytest.raises(UserError, match="lite/noise on original has 40 images and lite/none 0"):
        make(tmp_path, "comparisons", scores)
    scores.append(score(tmp_path, "original", "lite", "none", 20, n=30))
    with pytest.raises(UserError, match="has 40 images and lite/none 30"):
        make(tmp_path, "comparisons", scores)


def test_equal_scores_give_equal_bytes(tmp_path: Path) -> None:
    scores = [score(tmp_path, "original", "lite", "none", 30)]
    make(tmp_path, 1, scores)
    first = [(tmp_path / name).read_bytes() for name in ("table.csv", "table.md")]
    make(tmp_path, 1, scores)
    assert first == [(tmp_path / name).read_bytes() for name in ("table.csv", "table.md")]


def test_the_papers_tables_agree_with_each_other() -> None:
    assert paper.TABLE_3[0.5] == (
        paper.TABLE_1["original", "downsample"],
        paper.TABLE_1["universal", "downsample"],
    )
