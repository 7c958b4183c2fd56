"""Runs that are set side by side, from folders whose results are known."""

import dataclasses
import json
import shutil

import h5py
import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact

from advrob.errors import UserError
from advrob.findings import metrics, runs
from advrob.findings.runs import ImageResults, read_runs
from advrob.findings.side_by_side import (
    PAIRED,
    UNPAIRED,
    difference,
    side_by_side,
    table_parameters,
    table_scores,
    table_worst_cases,
)
from run_folders import write_run

N = 40
IDS = [f"photograph_{i}.jpg" for i in range(N)]


def first(count, n=N):
    return np.arange(n) < count


OUTCOMES = {
    ("original", "none"): first(36),
    ("pgd-m-none", "none"): first(4),
    ("pgd_l2-m-none", "none"): first(8),
    ("original", "noise"): first(34),
    ("pgd-m-none", "noise"): first(20),
    ("pgd_l2-m-none", "noise"): first(30),
    ("pgd-m-noise", "noise"): ~first(30),
    ("pgd_l2-m-noise", "noise"): first(12),
}


def changed(**cells):
    """The outcomes with others for ``noise``, by data set; a double underscore is a hyphen."""
    return OUTCOMES | {
        (name.replace("__", "-"), "noise"): correct for name, correct in cells.items()
    }


@pytest.fixture
def folders(tmp_path):
    """Two runs with the same photographs and another seed and defence."""
    one = write_run(
        tmp_path / "one", OUTCOMES, ids=IDS, entries={"noise": {"maximum": 10}}, attack={"steps": 5}
    )
    other = write_run(
        tmp_path / "other",
        changed(original=first(20), pgd__m__noise=~first(10)),
        seed=1,
        ids=IDS,
        entries={"noise": {"maximum": 20}},
        attack={"steps": 5},
    )
    return one, other


def compared(*folders, same=()):
    return side_by_side(read_runs([str(folder) for folder in folders], same))


def rows(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def results(correct, ids=None, labels=None):
    ids = IDS[: len(correct)] if ids is None else ids
    labels = np.zeros(len(ids), np.int64) if labels is None else labels
    return ImageResults(ids, labels, np.asarray(correct))


def test_each_cell_has_all_runs_and_a_paired_test(folders):
    table = table_scores(compared(*folders))
    row_of = {(row["dataset"], row["defence"], row["run"]): row for row in rows(table)}
    assert len(row_of) == 2 * len(OUTCOMES)
    row = row_of["original", "noise", "other"]
    assert (row["n"], row["accuracy"], row["difference"]) == (N, 0.5, -0.35)
    assert (row["ci_low"], row["ci_high"]) == metrics.wilson(20, N)
    assert (row["test"], row["wins"], row["losses"], row["photographs_in_both"]) == (
        *(PAIRED, 0, 14),
        N,
    )
    assert float(row["p"]) == pytest.approx(binomtest(0, 14).pvalue, rel=1e-5)
    assert row_of["original", "noise", "one"]["difference"] == ""
    assert float(row_of["original", "none", "other"]["p"]) == 1


def test_the_test_is_mcnemars():
    draw = np.random.default_rng(0)
    for n in (7, 40, 300):
        one, other = draw.random((2, n)) < [[0.7], [0.6]]
        ids = [f"{i}" for i in range(n)]
        change = difference(results(one, ids), results(other, ids))
        wins, losses = np.sum(one & ~other), np.sum(other & ~one)
        assert change.p == pytest.approx(binomtest(wins, wins + losses).pvalue)
        assert change.difference == pytest.approx(one.mean() - other.mean())
        assert change.low <= change.difference <= change.high


def test_the_order_of_images_does_not_matter():
    order = np.random.default_rng(0).permutation(N)
    shuffled = results(first(30)[order], [IDS[i] for i in order])
    change = difference(shuffled, results(first(30)))
    assert (change.test, change.wins, change.losses, change.p) == (PAIRED, 0, 0, 1)


def test_other_photographs_are_compared_unpaired():
    one = results(first(30))
    others = [f"other_{i}.jpg" for i in range(N)]
    change = difference(results(first(15), others), one)
    assert (change.test, change.shared, change.wins) == (UNPAIRED, 0, None)
    assert change.p == pytest.approx(fisher_exact([[15, 25], [30, 10]]).pvalue)
    assert (change.low, change.high) == metrics.newcombe(15, N, 30, N)
    # Some that are the same do not make a pair of all.
    assert difference(results(first(15, 20)), one).shared == 20
    assert difference(results(first(15, 20)), one).test == UNPAIRED


def test_other_labels_are_compared_unpaired():
    labels = np.arange(N) // 39
    assert difference(results(first(15), labels=labels), results(first(30))).test == UNPAIRED


def test_crops_of_a_photograph_count_once_in_an_unpaired_test():
    crops = [f"{i}.jpg#{crop}" for i in range(10) for crop in range(3)]
    # Two of three crops are right of the first eight photographs.
    correct = np.array([i < 8 and crop < 2 for i in range(10) for crop in range(3)])
    change = difference(results(correct, crops), results(first(20)))
    assert change.p == pytest.approx(fisher_exact([[8, 2], [20, 20]]).pvalue)
    assert (change.low, change.high) == metrics.newcombe(16 / 3, 10, 20, N)


def test_worst_cases_are_image_by_image_and_paired(folders):
    table = table_worst_cases(compared(*folders))
    row_of = {(row["defence"], row["norm"], row["run"]): row for row in rows(table) if row["norm"]}
    # The last 10 under its own attack, the first 20 under that on the model alone: none is in both.
    one, other = (row_of["noise", "linf", name] for name in ("one", "other"))
    assert (one["accuracy"], one["radius"]) == (0, 4)
    # Of the first 20, those from the tenth.
    assert (other["accuracy"], other["difference"], other["wins"]) == (0.25, 0.25, 10)
    assert float(other["p"]) == pytest.approx(binomtest(10, 10).pvalue, rel=1e-5)
    assert other["grade"] in "ABCD"
    assert row_of["none", "l2", "other"]["difference"] == 0


def test_p_values_are_corrected_for_the_whole_page(folders):
    both = compared(*folders)
    shown = [*rows(table_scores(both)), *rows(table_worst_cases(both))]
    tested = [row for row in shown if row["p"] != ""]
    assert both.comparisons == len(tested) == len(OUTCOMES) + 4
    assert {row["comparisons"] for row in tested} == {len(tested)}
    expected = metrics.holm([float(row["p"]) for row in tested])
    assert [float(row["p_holm"]) for row in tested] == pytest.approx(expected, rel=1e-5)
    assert table_scores(both).answer == "other: 2 of 8 differ significantly"


def test_what_the_runs_differ_in_is_named_as_in_the_configuration(folders):
    table = table_parameters(read_runs([str(folder) for folder in folders]))
    assert table.rows == [("defences.noise.maximum", "10", "20"), ("seed", "0", "1")]
    assert "Versions of packages are not recorded in one, other" in table.remark


def test_versions_are_compared_where_both_are_recorded(folders):
    for folder, number in zip(folders, ("1", "2"), strict=True):
        answer = {"versions": {"torch": number, "numpy": "2"}}
        (folder / runs.ANSWER).write_text(json.dumps(answer))
    table = table_parameters(read_runs([str(folder) for folder in folders]))
    assert ("versions.torch", "1", "2") in table.rows
    assert "versions.numpy" not in [row[0] for row in table.rows]
    assert "not recorded" not in table.remark
    (folders[0] / runs.ANSWER).unlink()
    table = table_parameters(read_runs([str(folder) for folder in folders]))
    assert "versions.torch" not in [row[0] for row in table.rows]
    assert "not recorded in one" in table.remark


def test_what_one_run_lacks_is_left_open(folders, tmp_path):
    third = write_run(tmp_path / "third", {("original", "pca"): first(9), **OUTCOMES}, ids=IDS)
    shutil.rmtree(folders[1] / "results/tables")
    both = compared(*folders, third)
    (line,) = [line for line in table_scores(both).lines if line[2] == "pca"]
    assert line[3:7] == ("–", "–", "–", "–")
    assert line[7:] == ("22.5 (12.3 to 37.5)", "–", "–")
    worst = table_worst_cases(both)
    assert "Without `table_robustness`: other." in worst.remark
    assert worst.answer.startswith("other: 0 of 0")


def test_other_names_are_compared_where_one_says_so(folders, tmp_path):
    renamed = {(name.replace("-m-", "-theirs-"), d): right for (name, d), right in OUTCOMES.items()}
    theirs = write_run(tmp_path / "theirs", renamed, ids=IDS, model="theirs")
    with pytest.raises(UserError, match="no data set and network in common"):
        compared(folders[0], theirs)
    both = compared(folders[0], theirs, same=[("m", "theirs")])
    table_rows = rows(table_scores(both))
    assert {row["model"] for row in table_rows} == {"m=theirs"}
    assert "pgd-m=theirs-noise" in {row["dataset"] for row in table_rows}
    assert {row["difference"] for row in table_rows if row["run"] == "theirs"} == {0.0}
    assert len(both.worst_cases) == 4


def test_names_that_a_folder_has_both_of_do_not_stand_for_the_same(folders):
    with pytest.raises(UserError, match="appears twice: --same"):
        compared(*folders, same=[("none", "noise")])


def damaged(path):
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff" if file.read(1) != b"\xff" else b"\0")


MISTAKES = {
    "one folder": (lambda one, other: [one], "found 1 folder, expected at least two"),
    "twice": (lambda one, other: [one, one / "."], "is named twice"),
    "missing": (lambda one, other: [one, one / "nothing"], "nothing: no such folder"),
    "inner": (lambda one, other: [one, other / "results"], r"Name the folder .*other\."),
    "empty": (lambda one, other: [one, one.parent], "has no scores in results/scores"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_said_in_a_sentence(mistake, folders):
    named, message = MISTAKES[mistake]
    with pytest.raises(UserError, match=message):
        compared(*named(*folders))


def test_files_are_what_they_say(folders, tmp_path):
    one, other = folders

    def refused(change, message):
        copy = tmp_path / "copy"
        shutil.copytree(other, copy)
        change(copy / "results")
        with pytest.raises(UserError, match=message):
            compared(one, copy)
        shutil.rmtree(copy)

    score = "scores/original/m/none.h5"
    refused(lambda folder: damaged(folder / score), "is damaged")
    refused(
        lambda folder: shutil.copy(folder / "scores/original/m/noise.h5", folder / score),
        "none.h5: was made with defence",
    )
    refused(
        lambda folder: (folder / "scores/original").rename(folder / "scores/first"),
        "'first' is not a data set",
    )
    refused(lambda folder: (folder / "datasets/original.h5").unlink(), "original.h5: no such file")
    few = write_run(tmp_path / "few", {("original", "none"): first(3, 9)}, ids=IDS[:9])
    refused(
        lambda folder: shutil.copy(few / "results" / score, folder / score),
        "contains other images than",
    )
    table = "tables/table_robustness.csv"
    refused(
        lambda folder: (folder / table).write_text(
            (folder / table).read_text().replace("all,worst case,40,0.25", "all,worst case,40,0.5")
        ),
        "It is of earlier scores",
    )
    refused(
        lambda folder: (folder / table).write_text("model,defence\nm,none\n"),
        "cannot be read as a table of robustness",
    )
    refused(lambda folder: (folder / "answer.json").write_text("["), "as a run's answer")


def test_runs_of_one_name_are_told_apart_by_their_paths(folders, tmp_path):
    for folder, name in zip(folders, "ab", strict=True):
        (tmp_path / name).mkdir()
        folder.rename(tmp_path / name / "run")
    runs = read_runs([str(tmp_path / name / "run") for name in "ab"])
    assert [run.name for run in runs] == [str(tmp_path / name / "run") for name in "ab"]


def test_a_sweep_and_hidden_files_are_no_scores(folders):
    scores = folders[0] / "results/scores/original/m"
    for name in ("sweep-noise.h5", ".none.h5.host.1.tmp.h5"):
        h5py.File(scores / name, "w").close()
    assert len(compared(*folders).scores) == len(OUTCOMES)


def test_a_run_says_nothing_twice(folders):
    run, _ = read_runs([str(folder) for folder in folders])
    assert run.parameters["perturbations.untargeted.pgd.steps"] == "5"
    assert run.parameters["images.size"] == "1"
    assert dataclasses.replace(run, parameters={}).has_versions is False
