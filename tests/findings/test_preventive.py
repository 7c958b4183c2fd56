"""Preventive models against their control: the table, its verdicts and the charts."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from advrob.figures.panels import Picture
from advrob.files import store
from advrob.findings import metrics, preventive
from advrob.findings.tables import Result
from advrob.plan import experiments
from advrob.plan.names import Network
from advrob.plan.plan import Plan
from conftest import ROOT

N = 200
IDS = [f"{number}.jpeg" for number in range(N)]


def results(model: str, defence: str, shares: dict[str, int]) -> list[Result]:
    """Of the 200 images, the first so many are right."""
    names = {
        "original": "original",
        "static universal": "universal-base-none",
        "static gan": "gan-base-none",
        "own universal": f"universal-{model}-{defence}",
        "own gradient": f"gradient-{model}-{defence}",
    }
    return [
        Result(names[part], model, defence, IDS, np.arange(N) < right, part)
        for part, right in shares.items()
    ]


CONTROL = {
    "original": 150,
    "static universal": 100,
    "static gan": 90,
    "own universal": 40,
    "own gradient": 0,
}
MODELS = {
    "both": CONTROL | {"original": 180, "own universal": 140},
    "costs": CONTROL | {"original": 120, "own universal": 140},
    "little": CONTROL | {"original": 151, "own universal": 140},
    "same": CONTROL,
}


def test_each_model_is_compared_with_the_control_in_its_role() -> None:
    found = results("control", "none", CONTROL)
    for model, shares in MODELS.items():
        found += results(model, "none", shares)
    table = preventive.table_preventive(found, "control")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert len(rows) == 5 * 5
    for row in rows:
        right = (MODELS | {"control": CONTROL})[row["model"]][row["role"]]
        assert row["accuracy"] == right / N
        if row["model"] == "control":
            assert row["p"] == ""
            continue
        difference = right - CONTROL[row["role"]]
        assert row["difference"] == pytest.approx(difference / N)
        assert (row["wins"], row["losses"]) == (max(difference, 0), max(-difference, 0))
        assert float(row["p"]) == pytest.approx(
            metrics.mcnemar(row["wins"], row["losses"]), rel=1e-4
        )
    p_values = [float(row["p"]) for row in rows if row["p"]]
    corrected = [float(row["p_holm"]) for row in rows if row["p_holm"]]
    assert corrected == pytest.approx(metrics.holm(p_values), rel=1e-4)
    verdicts = {line[0]: line[-1] for line in table.lines}
    assert verdicts == {
        "control": "–",
        "both": "yes",
        "costs": "no",
        "little": "undecided",
        "same": "undecided",
    }


def test_behind_a_defence_the_control_is_behind_it_too() -> None:
    found = results("control", "none", CONTROL) + results("control", "noise", MODELS["both"])
    found += results("mine", "none", MODELS["both"]) + results("mine", "noise", MODELS["both"])
    table = preventive.table_preventive(found, "control")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    behind = [row for row in rows if row["model"] == "mine" and row["defence"] == "noise"]
    assert {row["difference"] for row in behind} == {0}
    assert {row["dataset"] for row in behind if row["role"] == "own universal"} == {
        "universal-mine-noise"
    }


def test_a_tables_roles_are_those_of_its_cells() -> None:
    """Every model and defence has a score in each, and the table looks for no other."""
    plan = Plan(yaml.safe_load((ROOT / "config.yaml").read_text()))
    roles: dict[Network, list[str]] = {}
    for cell in experiments.preventive(plan):
        roles.setdefault(cell.network, []).append(cell.role)
    assert len(roles) >= 2
    assert all(found == list(preventive.ROLES) for found in roles.values())


def test_roles_are_told_whatever_the_order_of_the_results() -> None:
    found = results("control", "none", CONTROL) + results("mine", "none", MODELS["costs"])
    table = preventive.table_preventive(found[::-1], "control")
    roles = {row[3]: row[2] for row in table.rows if row[0] == "mine"}
    assert list(roles) == list(preventive.ROLES)
    assert roles["static universal"] == "universal-base-none"
    assert roles["own universal"] == "universal-mine-none"


@pytest.fixture
def trained(tmp_path: Path) -> str:
    path = tmp_path / "mine.h5"
    arrays = {
        "training_curve": np.array([[1.5, 0.5, 0.6], [1.0, 0.75, 0.8]]),
        "training_measures": np.array(
            ["loss", "accuracy while learning", "accuracy, held out"], dtype=object
        ),
    }
    with store.write(path, "state/1", seed=0, params={"model": "mine"}, source="test") as file:
        store.put(file, arrays)
    return str(path)


def test_curves_are_read_and_drawn(trained: str) -> None:
    curves = preventive.read_curves(trained)
    assert curves.model == "mine"
    assert curves.rows()[:2] == [("mine", 1, "loss", 1.5), ("mine", 2, "loss", 1.0)]
    figure = preventive.training_chart([curves] * 4)
    drawn = [line.get_ydata() for line in figure.axes[0].get_lines()]
    assert sorted(map(list, drawn)) == [[50.0, 75.0], [60.0, 80.0]]
    assert [axes.get_title() for axes in figure.axes[:4]] == ["mine"] * 4


def test_the_generators_chart_has_pictures_and_curves(trained: str) -> None:
    picture = Picture(np.zeros((8, 8, 3), np.uint8), "a class", 0.5, True)
    figure = preventive.generator_chart([[picture] * 3] * 2, preventive.read_curves(trained))
    assert len(figure.axes) == 7
    assert len(figure.axes[-1].get_lines()) == 3
