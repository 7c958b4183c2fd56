"""Random defences: one draw, most draws and all draws are three numbers."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import table as script
from advrob.errors import UserError
from advrob.findings import metrics, tries
from advrob.plan.names import DataSet, Knowledge, Network
from conftest import write_scores

IDS = [f"{number}.jpg" for number in range(4)]
# Of four images, right in all, three, two and none of four draws.
DRAWS = np.arange(4)[:, None] < np.array([4, 3, 2, 0])
NOISE = Network("m", "noise")


def tried(draws: np.ndarray) -> tries.Tried:
    return tries.Tried(NOISE, DataSet(), [f"{i}.jpg" for i in range(draws.shape[1])], draws)


def test_so_many_tries_are_so_many_of_the_draws() -> None:
    """Every choice of as many draws, counted."""
    shares = tries.surviving(DRAWS)
    for count in range(1, 5):
        chosen = list(combinations(range(4), count))
        expected = np.mean([DRAWS[list(choice)].all(axis=0) for choice in chosen], axis=0)
        np.testing.assert_allclose(shares[count - 1], expected, rtol=0, atol=1e-15)
    assert shares[:, 0].tolist() == [1, 1, 1, 1]
    assert shares[:, 3].tolist() == [0, 0, 0, 0]


def test_the_estimate_is_unbiased_where_the_share_of_draws_is_not() -> None:
    """Of an image that is right with probability p, against p to the power of the tries."""
    p, n, count = 0.7, 5, 3
    draws = np.random.default_rng(0).random((n, 200_000)) < p
    shares = tries.surviving(draws)
    for number in range(1, n + 1):
        assert shares[number - 1].mean() == pytest.approx(p**number, abs=0.004)
    assert (draws.mean(axis=0) ** count).mean() > p**count + 0.05


def test_one_draw_most_draws_and_all_draws() -> None:
    outcome = tried(DRAWS)
    assert outcome.first.accuracy == 3 / 4
    after = [accuracy.accuracy for accuracy in outcome.tries]
    assert after == pytest.approx([9 / 16, (1 + 1 / 2 + 1 / 6) / 4, (1 + 1 / 4) / 4, 1 / 4])
    # Two draws of four are not most.
    assert outcome.majority.accuracy == 2 / 4
    # Probabilities have the interval of as many photographs.
    assert (outcome.tries[0].low, outcome.tries[0].high) == metrics.wilson(9 / 4, 4)
    assert outcome.tries[0].correct == pytest.approx(9 / 4)


def test_a_single_draw_is_all_three() -> None:
    outcome = tried(DRAWS[:1])
    assert outcome.tries == [outcome.first] == [outcome.majority]


def written(folder: Path) -> list[str]:
    """Original images, and two attacks on the first half of them; another network besides."""
    draws_of = {
        ("original", "noise"): np.ones((4, 4), bool),
        ("pgd-m-none", "noise"): DRAWS[:, 1:3],
        ("pgd-m-noise", "noise"): DRAWS[:, 2:],
        ("original", "crop"): np.ones((4, 3), bool),
        ("pgd-m-crop", "crop"): np.zeros((4, 3), bool),
    }
    return [
        write_scores(folder, dataset, "m", defence, draws, IDS[: draws.shape[1]])
        for (dataset, defence), draws in draws_of.items()
    ]


def test_images_are_those_that_every_attack_on_a_network_was_tried_on(tmp_path: Path) -> None:
    read = tries.read(written(tmp_path))
    assert [each.ids for each in read] == [IDS[:2]] * 3 + [IDS[:3]] * 2
    assert [each.knowledge for each in read[:3]] == [
        Knowledge.NONE, Knowledge.MATCHED, Knowledge.ADAPTIVE
    ]  # fmt: skip
    assert [each.label for each in tries.strongest(read)] == [
        "m, noise, adaptive pgd", "m, crop, adaptive pgd"
    ]  # fmt: skip


def test_ids_are_joined_by_name(tmp_path: Path) -> None:
    order = [IDS[3], IDS[0]]
    paths = [
        write_scores(tmp_path, "original", "m", "noise", DRAWS, IDS),
        write_scores(tmp_path, "pgd-m-noise", "m", "noise", DRAWS[:, [3, 0]], order),
    ]
    original, attacked = tries.read(paths)
    assert dict(zip(original.ids, original.draws.sum(axis=0), strict=True)) == {
        IDS[0]: 4, IDS[3]: 0
    }  # fmt: skip
    assert dict(zip(attacked.ids, attacked.draws.sum(axis=0), strict=True)) == {
        IDS[3]: 0, IDS[0]: 4
    }  # fmt: skip


def test_the_table_has_a_row_for_each_attack(tmp_path: Path) -> None:
    table = tries.table_tries(written(tmp_path))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["defence"], row["attack"], row["n"], row["draws"]) for row in rows] == [
        ("noise", "original", 2, 4),
        ("noise", "pgd", 2, 4),
        ("noise", "pgd", 2, 4),
        ("crop", "original", 3, 4),
        ("crop", "pgd", 3, 4),
    ]
    matched = rows[1]
    # Three and two of four draws.
    assert matched["accuracy_first"] == 1
    assert matched["accuracy_mean"] == pytest.approx(5 / 8)
    assert matched["accuracy_majority"] == 1 / 2
    assert matched["accuracy_all"] == 0
    assert matched["ci_low_mean"] < 5 / 8 < matched["ci_high_mean"]
    assert table.lines[1][:5] == ("m", "noise", "matched", "pgd", "4")
    assert table.lines[1][6].startswith("62.5 (")
    assert all(len(line) == len(table.header) for line in table.lines)
    assert table.answer == (
        "m, noise, adaptive pgd: 25.0% after one try, 0.0% after 4; "
        "m, crop, adaptive pgd: 0.0% after one try, 0.0% after 4"
    )


def test_the_script_writes_it(tmp_path: Path) -> None:
    paths = {name: str(tmp_path / f"t.{name}") for name in ("csv", "markdown", "json")}
    options = {"cells": [], "options": {}, "pattern": None, "note": None}
    script.main(function="tries.table_tries", files=tuple(written(tmp_path)), **options, **paths)
    assert (tmp_path / "t.csv").read_text().startswith("model,defence,knowledge,attack,n,draws,")
    assert "half is not enough" in (tmp_path / "t.markdown").read_text()


def test_without_random_defences_a_sentence_says_so() -> None:
    with pytest.raises(UserError, match=r"no defence of experiments\.robustness\.defences draws"):
        tries.table_tries([])


def test_without_a_random_network_there_is_no_table() -> None:
    with pytest.raises(
        UserError, match=r"table_tries and figure_tries: no defence of experiments\."
    ):
        tries.table_tries([])
