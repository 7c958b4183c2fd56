import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

import table as script
from advrob.errors import UserError
from advrob.files import store
from advrob.findings import metrics, paper, tables
from advrob.findings.tables import Result
from conftest import cell_of, write_scores

N = 40
IDS = [
    f"val/n01440764/{'ILSVRC2012_val' if i % 4 == 0 else 'n01440764'}_{i}.JPEG" for i in range(N)
]


def score(folder: Path, dataset: str, model: str, defence: str, hits: int, n: int = N) -> str:
    return write_scores(folder, dataset, model, defence, np.arange(n) < hits, IDS[:n])


def make(
    folder: Path,
    function: str,
    scores: Sequence[str] = (),
    pattern: str | None = None,
    files: Sequence[str] = (),
    **options: object,
) -> tuple[list[dict[str, str]], str]:
    """Run the script of tables and read back what it wrote."""
    outputs = {
        kind: str(folder / f"table.{end}")
        for kind, end in {"csv": "csv", "markdown": "md", "json": "json"}.items()
    }
    script.main(
        function=f"tables.{function}",
        cells=[cell_of(path) for path in scores],
        options=options,
        pattern=pattern,
        note="A remark.",
        scores=tuple(scores),
        files=tuple(files),
        **outputs,
    )
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
    rows, text = make(tmp_path, "table_1", scores)
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
    rows, text = make(tmp_path, "table_1", scores, "ILSVRC2012_val_*")
    assert (rows[0]["n"], rows[0]["correct"]) == ("10", "8")
    assert "whose file name matches `ILSVRC2012_val_*`" in text
    with pytest.raises(UserError, match=r"40 images has a file name that matches 'x\*'"):
        make(tmp_path, "table_1", scores, "x*")


@pytest.mark.parametrize(
    ("dataset", "defence", "expected"),
    [
        ("original", "pca", "none"),
        ("universal-lite-none", "pca", "matched"),
        ("universal-lite-pca", "pca", "adaptive"),
        ("universal-lite-noise", "pca", "transferred"),
        ("universal-google-none", "pca", "transferred"),
        ("universal-google-pca", "pca", "transferred"),
        ("gradient-lite-pca", "pca", "adaptive"),
        ("published-vgg16", "pca", "published"),
        ("tuning", "pca", "none"),
        ("tuning-universal-lite-none", "pca", "matched"),
        # Of a network without a defence nothing is left to know.
        ("universal-lite-none", "none", "adaptive"),
        ("universal-lite-pca", "none", "transferred"),
        ("published-vgg16", "none", "published"),
    ],
)
def test_what_the_maker_of_a_data_set_knew(dataset: str, defence: str, expected: str) -> None:
    result = Result(dataset, "lite", defence, IDS, np.arange(N) < 20)
    assert result.knowledge == expected
    (line,) = tables.table_1([result]).lines
    assert line[:4] == (dataset, expected, "lite", defence)


def test_only_attacks_on_the_model_alone_stand_beside_the_papers() -> None:
    """The paper attacked no network through its defence."""
    scored = {
        ("original", "pca"): "23.35",
        ("universal-lite-none", "none"): "55.25",
        ("universal-lite-none", "pca"): "22.10",
        ("published-vgg16", "pca"): "22.10",
        ("universal-lite-pca", "pca"): "–",
    }
    results = [Result(dataset, "lite", name, IDS, np.arange(N) < 20) for dataset, name in scored]
    assert [line[-1] for line in tables.table_1(results).lines] == list(scored.values())


def test_scores_of_something_else_are_refused(tmp_path: Path) -> None:
    """As after a file was renamed: the name says one thing and the file another."""
    paths = [
        score(tmp_path, "original", "lite", "none", 30),
        score(tmp_path, "universal-lite-none", "lite", "noise", 20),
    ]
    cells = [cell_of(path) for path in paths]
    assert len(tables.read_results(paths, cells)) == 2
    with pytest.raises(UserError) as caught:
        tables.read_results(paths[::-1], cells)
    assert str(caught.value).startswith(
        f'{paths[1]}: was made with dataset "universal-lite-none", defence "noise", expected '
        'dataset "original", defence "none". '
    )


def test_results_have_the_roles_of_their_cells(tmp_path: Path) -> None:
    path = score(tmp_path, "universal-lite-none", "lite", "none", 30)
    (with_role,) = tables.read_results([path], [cell_of(path, "own universal")])
    (without,) = tables.read_results([path])
    assert (with_role.role, without.role) == ("own universal", "")
    assert with_role.accuracy == without.accuracy == metrics.accuracy(np.arange(N) < 30, IDS)


def test_table_2_scores_each_network_on_the_images_made_against_the_other(tmp_path: Path) -> None:
    scores = [
        score(tmp_path, "gradient-lite-pca", "lite", "none", 24),
        score(tmp_path, "gradient-lite-none", "lite", "pca", 8),
        score(tmp_path, "gradient-lite-none", "lite", "none", 0),
    ]
    rows, text = make(tmp_path, "table_2", scores, pairs=[["none", "pca"]])
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
        make(tmp_path, "table_2", scores, pairs=[["none", "pca"]])
    scores.append(score(tmp_path, "gradient-lite-none", "lite", "pca", 3, n=20))
    with pytest.raises(UserError, match="40 images and lite/pca on 20"):
        make(tmp_path, "table_2", scores, pairs=[["none", "pca"]])


def test_table_3(tmp_path: Path) -> None:
    ratios = {"downsample": 0.5, "downsample_75": 0.75}
    scores = [
        score(tmp_path, dataset, "lite", defence, hits)
        for dataset, hits in (("original", 32), ("universal-lite-none", 22))
        for defence in ratios
    ]
    rows, text = make(tmp_path, "table_3", scores, ratios=ratios)
    assert ",".join(rows[0]) == (
        "model,ratio,n,accuracy_original,ci_low_original,ci_high_original,"
        "accuracy_universal,ci_low_universal,ci_high_universal"
    )
    assert [float(row["ratio"]) for row in rows] == [0.5, 0.75]
    assert numbers(rows[1], "accuracy_original", "accuracy_universal") == [0.8, 0.55]
    line = "| lite | 75 % | 40 | 80.00 | 65.2 to 89.5 | 70.45 | universal-lite-none | matched |"
    assert line in text
    with pytest.raises(UserError, match="scores on 0 attacked data sets"):
        make(tmp_path, "table_3", scores[:2], ratios=ratios)


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
    rows, text = make(tmp_path, "comparisons", scores, pairs=[["none", "noise"]])
    assert ",".join(rows[0]) == (
        "model,dataset,defence,other_dataset,other_defence,n,photographs,difference,ci_low,ci_high,"
        "wins,losses,p,p_holm,comparisons"
    )
    assert [list(row.values())[:5] for row in rows] == [
        ["lite", dataset, "noise", dataset, "none"]
        for dataset in ("original", "universal-lite-none")
    ]
    low, high = metrics.tango(0, 1, 40)
    expected = [40, 40, -0.025, low, high, 0, 1, 1, 1, 2]
    assert numbers(rows[0], *list(rows[0])[5:]) == pytest.approx(expected, abs=1e-6)
    # Ten of ten: 2 / 2^10, and twice that for two comparisons.
    low, high = metrics.tango(10, 0, 40)
    expected = [40, 40, 0.25, low, high, 10, 0, 2 / 2**10, 4 / 2**10, 2]
    assert numbers(rows[1], *list(rows[1])[5:]) == pytest.approx(expected, abs=1e-6)
    line = "| universal-lite-none | matched | lite | noise | none | +25.00 | +14.0 to +40.2 | 10 |"
    assert f"{line} 0 | 0.002 | 0.0039 |" in text.splitlines()
    assert "corrected for the 2 comparisons of this table after Holm" in text
    assert "Wilson" not in text
    rows, _ = make(tmp_path, "comparisons", scores, "ILSVRC2012_val_*", pairs=[])
    assert rows[1]["n"] == "10"


def test_comparisons_of_pairs(tmp_path: Path) -> None:
    """On the same images, and each network on those made against the other."""
    scores = [
        score(tmp_path, "original", "lite", defence, hits)
        for defence, hits in (("none", 30), ("pca", 5), ("noise", 25))
    ]
    scores += [
        score(tmp_path, f"gradient-lite-{against}", "lite", defence, hits)
        for against, defence, hits in (
            ("pca", "none", 29),
            ("pca", "noise", 28),
            ("noise", "none", 1),
            ("noise", "pca", 4),
        )
    ]
    rows, text = make(tmp_path, "comparisons", scores, pairs=[["noise", "pca"], ["none", "pca"]])
    differences = [(*list(row.values())[1:5], float(row["difference"])) for row in rows]
    on_noise, on_pca = "gradient-lite-noise", "gradient-lite-pca"
    assert differences == [
        ("original", "pca", "original", "none", -0.625),
        ("original", "noise", "original", "none", -0.125),
        ("original", "noise", "original", "pca", 0.5),
        (on_pca, "noise", on_pca, "none", -0.025),
        (on_noise, "pca", on_noise, "none", 0.075),
        (on_pca, "noise", on_noise, "pca", 0.6),
    ]
    assert "| lite | noise | pca on gradient-lite-noise | +60.00 |" in text


def test_comparisons_are_of_the_same_images(tmp_path: Path) -> None:
    scores = [score(tmp_path, "original", "lite", "noise", 30)]
    with pytest.raises(UserError, match=r"Make it with.*results/scores/original/lite/none\.h5"):
        make(tmp_path, "comparisons", scores, pairs=[])
    scores.append(score(tmp_path, "original", "lite", "none", 20, n=30))
    with pytest.raises(UserError, match="different images; the first has 40, the second 30"):
        make(tmp_path, "comparisons", scores, pairs=[])


def write_certificates(folder: Path, **more: np.ndarray) -> str:
    """Of four images one is wrong, one abstained on, and two certified to 3 and 5."""
    arrays = {
        "sigmas": np.array([8.0]),
        "predicted": np.array([[7, -1, 7, 7]]),
        "radius": np.array([[9.0, 0, 3, 5]]),
        "counts": np.array([[100, 50, 90, 95]]),
        "labels": np.array([1, 7, 7, 7]),
        "ids": np.array(IDS[:4]),
    }
    path = folder / "certified.h5"
    params = {"dataset": "original", "model": "lite", "draws": 100}
    store.save(path, "certified/1", arrays | more, seed=0, params=params, source="")
    return str(path)


def test_certified_accuracy(tmp_path: Path) -> None:
    """By hand."""
    files = [write_certificates(tmp_path)]
    rows, text = make(tmp_path, "table_certified", files=files, radii=[0, 3, 4, 6])
    columns = "dataset,model,sigma,radius,n,accuracy,ci_low,ci_high,defence,"
    assert ",".join(rows[0]) == columns + "accuracy_attacked,ci_low_attacked,ci_high_attacked"
    assert {row["defence"] for row in rows} == {"none"}
    assert [float(row["accuracy"]) for row in rows] == [0.5, 0.5, 0.25, 0]
    assert float(rows[2]["ci_high"]) == pytest.approx(metrics.wilson(1, 4)[1], abs=1e-6)
    assert "| original | lite | none | 8 | 50.00 | 50.00 | 25.00 | 0.00 | 25.00 | 100 |" in text
    assert "certificates" not in text
    assert {row["accuracy_attacked"] for row in rows} == {""}


@pytest.mark.parametrize(
    ("broken", "verdict"), [(0, "0 of 3 certificates, as it must be"), (1, "1 of 3 .*error")]
)
def test_certified_accuracy_beside_that_under_attack(tmp_path: Path, broken, verdict) -> None:
    path = write_certificates(
        tmp_path,
        attack_radii=np.array([0.0, 4.0]),
        attacked=np.array([[[False, True, True, True], [False, False, True, True]]]),
        broken=np.arange(4)[None] < broken,
    )
    rows, text = make(tmp_path, "table_certified", files=[path], radii=[0, 4])
    assert [float(row["accuracy_attacked"]) for row in rows] == [0.75, 0.5]
    assert "| 8 | 50.00 / 75.00 | 25.00 / 50.00 | 25.00 | 100 |" in text
    assert re.search(verdict, text)


def test_equal_scores_give_equal_bytes(tmp_path: Path) -> None:
    scores = [score(tmp_path, "original", "lite", "none", 30)]
    make(tmp_path, "table_1", scores)
    first = [(tmp_path / name).read_bytes() for name in ("table.csv", "table.md")]
    make(tmp_path, "table_1", scores)
    assert first == [(tmp_path / name).read_bytes() for name in ("table.csv", "table.md")]


def test_the_papers_tables_agree_with_each_other() -> None:
    assert paper.TABLE_3[0.5] == (
        paper.TABLE_1["original", "downsample"],
        paper.TABLE_1["universal", "downsample"],
    )


def test_settings_are_chosen_by_their_mean_over_both_kinds_of_images():
    shares = {"a": (80, 20), "b": (70, 60), "c": (75, 50), "d": (75, 50)}
    results = [
        Result(dataset, "m", name, IDS_100, np.arange(100) < hits)
        for name, pair in shares.items()
        for dataset, hits in zip(("tuning", "tuning-universal-m-none"), pair, strict=True)
    ]
    table = tables.table_settings(results, {"first": ["a", "b"], "second": ["c", "d"]})
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert {row["defence"]: row["chosen"] for row in rows} == {
        "a": "false",
        "b": "true",
        "c": "true",
        "d": "false",
    }
    assert {row["tried"] for row in rows} == {2}
    assert [row["mean"] for row in rows] == pytest.approx([0.5, 0.65, 0.625, 0.625])
    assert sum("chosen" in line[-1] for line in table.lines) == 2
    with pytest.raises(UserError, match="no score of m/e on tuning"):
        tables.table_settings(results, {"first": ["a", "e"]})


IDS_100 = [f"{number}.jpeg" for number in range(100)]


HOSTILE = ("a|b", "a\\|b", "two\nlines", "[x](javascript:alert(1))", "<script>x</script>", "`")


@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_breaks_a_markdown_table(value: str) -> None:
    *_, line = tables.markdown(("A", "B"), [(value, "end")]).split("\n")
    # A pipe with an odd number of backslashes before it separates no cells.
    cells = re.split(r"(?<!\\)(?:\\\\)*\|", line)
    assert [len(cells), cells[-2]] == [4, " end "]
    assert "](" not in line
    assert not re.search(r"(?<!\\)<", line)


def test_markdown_and_json_have_the_same_texts(tmp_path: Path) -> None:
    table = tables.Table(("a",), [(1,)], "T", ("A", "B"), [("1", "**2**")], remark="What `a` is.")
    paths = {f"{kind}_path": str(tmp_path / f"t.{kind}") for kind in ("csv", "markdown", "json")}
    tables.write(table, **paths, note="A note.")
    assert (tmp_path / "t.markdown").read_text() == (
        "# T\n\n| A | B |\n| --- | --- |\n| 1 | **2** |\n\nWhat `a` is.\n\nA note.\n"
    )
    assert tables.read(tmp_path / "t.json") == {
        **{"title": "T", "header": ["A", "B"], "lines": [["1", "**2**"]], "parts": []},
        **{"remark": "What `a` is.", "note": "A note."},
    }


@pytest.mark.parametrize("text", ["", "[]", "1", '{"title": "T"}', "\x00"])
def test_a_damaged_table_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(UserError, match=r"t\.json: cannot be read as a table"):
        tables.read(tmp_path / "t.json")


@pytest.mark.parametrize(
    ("text", "marked"), [("a", "`a`"), ("a`b", "`` a`b ``"), ("``", "``` `` ```")]
)
def test_code_may_have_backquotes(text: str, marked: str) -> None:
    assert tables.code(text) == marked
