"""Preventive models against their control: the table and its verdicts."""

import numpy as np
import pytest
import yaml

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
        Result(names[part], model, defence, IDS, np.arange(N) < hits, part)
        for part, hits in shares.items()
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
    scores = results("control", "none", CONTROL)
    for model, shares in MODELS.items():
        scores += results(model, "none", shares)
    table = preventive.table_preventive(scores, "control")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert len(rows) == 5 * 5
    for row in rows:
        hits = (MODELS | {"control": CONTROL})[row["model"]][row["role"]]
        assert row["accuracy"] == hits / N
        if row["model"] == "control":
            assert row["p"] == ""
            continue
        difference = hits - CONTROL[row["role"]]
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
    scores = results("control", "none", CONTROL) + results("control", "noise", MODELS["both"])
    scores += results("mine", "none", MODELS["both"]) + results("mine", "noise", MODELS["both"])
    table = preventive.table_preventive(scores, "control")
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
    assert all(of_network == list(preventive.ROLES) for of_network in roles.values())


def test_roles_do_not_depend_on_the_order_of_the_results() -> None:
    scores = results("control", "none", CONTROL) + results("mine", "none", MODELS["costs"])
    table = preventive.table_preventive(scores[::-1], "control")
    roles = {row[3]: row[2] for row in table.rows if row[0] == "mine"}
    assert list(roles) == list(preventive.ROLES)
    assert roles["static universal"] == "universal-base-none"
    assert roles["own universal"] == "universal-mine-none"
