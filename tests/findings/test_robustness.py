"""The table of robustness, from score files whose outcomes are known."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from test_checks import IDS, N, budget, control, findings, first, last

import table as script
from advrob.errors import UserError
from advrob.files import store
from advrob.findings import metrics, robustness
from advrob.findings.checks import Check, Verdict
from advrob.findings.robustness import Evaluation, ThreatModel
from advrob.plan.names import DataSet, Network
from conftest import cell_of, write_scores

BOUNDS = {
    "pgd": ThreatModel("linf", 4),
    "square": ThreatModel("linf", 4),
    "pgd_l2": ThreatModel("l2", 300),
}
BOTH = ("none", "noise")
# The beginnings of names of checks that are about one attack.
OF_ATTACK = ("beats", "changes images", "stays in bounds")
EFFORT = ("radius", "effort")
ALL_PASSED = "{} checks passed, 0 checks noted, 0 checks not shown, 0 checks failed"
# Data set and defence -> what is right, of a model alone and behind noise.
Outcomes = Mapping[tuple[str, str], np.ndarray]
CORRECT = {
    ("original", "none"): first(0.8),
    ("pgd-m-none", "none"): first(0.1),
    ("square-m-none", "none"): last(0.5),
    ("pgd_l2-m-none", "none"): first(0.3),
    ("original", "noise"): first(0.7),
    ("pgd-m-none", "noise"): first(0.6),
    ("square-m-none", "noise"): last(0.85),
    ("pgd_l2-m-none", "noise"): first(0.7),
    ("pgd-m-noise", "noise"): first(0.2),
    ("square-m-noise", "noise"): last(0.9),
    ("pgd_l2-m-noise", "noise"): first(0.4),
}


def written(folder: Path, outcomes: Outcomes) -> tuple[list[str], list[tuple[str, str, str, str]]]:
    """Score files, and the cells that they are of."""
    paths = [
        write_scores(folder, dataset, "m", defence, correct, IDS[: correct.shape[-1]])
        for (dataset, defence), correct in outcomes.items()
    ]
    return paths, [cell_of(path) for path in paths]


def read(folder: Path, outcomes: Outcomes) -> list[Evaluation]:
    return robustness.read_outcomes(*written(folder, outcomes))


def rows(table: robustness.Table) -> list[dict]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_a_worst_case_is_of_every_attack_within_a_threat_model_image_by_image(tmp_path):
    table = robustness.table_robustness(read(tmp_path, CORRECT), BOUNDS)
    worst = {
        (row["defence"], row["norm"], row["radius"]): row["accuracy"]
        for row in rows(table)
        if row["attack"] == "worst case"
    }
    assert worst == {
        # The first 80, the first 10 and the last 50: no image is in all.
        ("none", "linf", 4): 0,
        ("none", "l2", 300): pytest.approx(0.3),
        # Its own attacks leave images 10 to 19. That by Square on the model alone takes 5 more.
        ("noise", "linf", 4): pytest.approx(0.05),
        ("noise", "l2", 300): pytest.approx(0.4),
    }
    assert [accuracy.accuracy for accuracy in table.accuracies] == pytest.approx(
        [0.3, 0, 0.4, 0.05]
    )
    assert table.answer == "worst case: at best 40.0% (m/noise within l_2 300)"
    assert {row["knowledge"] for row in rows(table) if row["attack"] == "worst case"} == {"all"}


def test_an_attack_with_a_smaller_radius_is_within_a_larger_one_of_its_norm(tmp_path):
    bounds = BOUNDS | {"square": ThreatModel("linf", 8), "pgd_l2": ThreatModel("l2", 1)}
    table = robustness.table_robustness(read(tmp_path, CORRECT), bounds)
    worst = {
        (row["norm"], row["radius"]): row["accuracy"]
        for row in rows(table)
        if (row["defence"], row["attack"]) == ("noise", "worst case")
    }
    # Without Square the first 20 hold within 4; with it 5 of them within 8.
    assert worst == {
        ("linf", 4): pytest.approx(0.2),
        ("linf", 8): pytest.approx(0.05),
        ("l2", 1): pytest.approx(0.4),
    }
    assert ThreatModel("linf", 8).allows(ThreatModel("linf", 8))
    assert not ThreatModel("linf", 8).allows(ThreatModel("linf", 8.5))
    assert not ThreatModel("linf", 8).allows(ThreatModel("l2", 1))


def test_rows_say_what_an_attack_knew_and_may_do(tmp_path):
    table = robustness.table_robustness(read(tmp_path, CORRECT), BOUNDS)
    by_attack = {(row["defence"], row["knowledge"], row["attack"]): row for row in rows(table)}
    knowledges = {key[:2] for key in by_attack}
    # What is made against the model alone knows all of it, where there is no defence.
    assert knowledges == {
        *((name, what) for name in BOTH for what in ("none", "adaptive", "all")),
        ("noise", "matched"),
    }
    assert by_attack["none", "adaptive", "pgd"]["accuracy"] == pytest.approx(0.1)
    assert by_attack["noise", "matched", "pgd"]["accuracy"] == pytest.approx(0.6)
    row = by_attack["noise", "adaptive", "pgd_l2"]
    interval = metrics.wilson(40, N)
    assert (row["n"], row["accuracy"], row["ci_low"], row["ci_high"]) == (N, 0.4, *interval)
    assert (row["norm"], row["radius"], row["grade"]) == ("l2", 300, "–")
    original = by_attack["noise", "none", "original"]
    assert (original["norm"], original["radius"], original["grade"]) == ("–", "–", "–")
    alone, behind = (dict(zip(table.header, line, strict=True)) for line in table.lines)
    assert behind["original"].startswith("70.0 (")
    assert behind["matched: pgd"].startswith("60.0 (")
    assert behind["adaptive: pgd"].startswith("20.0 (")
    assert behind["worst case within l_inf 4"] == "5.0 (2 to 11), D"
    assert behind["worst case within l_2 300"].startswith("40.0 (")
    assert alone["adaptive: pgd"].startswith("10.0 (")
    assert alone["matched: pgd"] == "–"


def test_most_draws_decide(tmp_path):
    draws = np.array([[True, True, False], [True, False, False], [False, True, False]])
    (network,) = read(tmp_path, {("original", "noise"): draws})
    outcome = network.outcomes[DataSet()]
    assert list(outcome.correct.values()) == [True, True, False]
    assert outcome.spread.deviation == pytest.approx(draws.mean(axis=1).std(ddof=1))
    # Half of the draws are not most.
    (network,) = read(tmp_path, {("original", "noise"): draws[:2]})
    assert list(network.outcomes[DataSet()].correct.values()) == [True, False, False]


def test_only_images_that_every_attack_was_tried_on_count(tmp_path):
    outcomes = CORRECT | {("pgd-m-none", "none"): first(0.1)[:40]}
    table = robustness.table_robustness(read(tmp_path, outcomes), BOUNDS)
    counted = {(row["defence"], row["n"]) for row in rows(table)}
    assert counted == {("none", 40), ("noise", 100)}


def test_scores_of_something_else_are_refused(tmp_path):
    """As after files were swapped: the name says one thing and the file another."""
    paths, cells = written(tmp_path, CORRECT)
    swapped = [*paths[:7], paths[8], paths[7], *paths[9:]]
    with pytest.raises(UserError) as caught:
        robustness.read_outcomes(swapped, cells)
    assert str(caught.value).startswith(
        f'{paths[8]}: was made with dataset "pgd-m-noise", expected dataset "pgd_l2-m-none". '
    )
    swapped = [paths[4], *paths[1:4], paths[0], *paths[5:]]
    with pytest.raises(UserError, match='defence "noise", expected defence "none"'):
        robustness.read_outcomes(swapped, cells)


# The checks of an evaluation, from files --------------------------------------------------------

SOUND = {cell: correct for cell, correct in CORRECT.items() if "l2" not in cell[0]} | {
    ("square-m-none", "none"): first(0.5),
    ("square-m-none", "noise"): first(0.65),
    ("square-m-noise", "noise"): first(0.4),
}


def files(
    folder: Path,
    *,
    controls=0.75,
    farthest=4.0,
    curve=(0.8, 0.4, 0.0),
    length=1.0,
    checkup=("passed",),
) -> dict[str, list[str]]:
    """Files of check-ups, budgets and controls of both networks."""
    return {
        "checkups": [findings(folder / f"checkup-{name}.json", *checkup) for name in BOTH],
        "budgets": [budget(folder / f"budget-{name}.h5", curve, length=length) for name in BOTH],
        # Square's changes were not measured: PGD's are what is tested here.
        "controls": [
            control(folder / f"controls-{name}.h5", {f"pgd-m-{name}": (first(controls), farthest)})
            for name in BOTH
        ],
    }


def checked(folder: Path, outcomes: Outcomes = SOUND, bounds=BOUNDS, **changes) -> list[Evaluation]:
    evaluations = read(folder, outcomes)
    robustness.add_checks(
        evaluations, **files(folder, **changes), bounds=bounds, gradient_free=["square"]
    )
    return evaluations


def of_verdict(evaluations: list[Evaluation], verdict: Verdict) -> set[tuple[str, str]]:
    return {
        (each.network.defence, check.name)
        for each in evaluations
        for check in each.checks
        if check.verdict == verdict
    }


def worst_rows(evaluations: list[Evaluation], defence: str) -> list[dict]:
    table = robustness.table_robustness(evaluations, BOUNDS, ["square"])
    return [
        row for row in rows(table) if (row["defence"], row["attack"]) == (defence, "worst case")
    ]


def test_a_sound_evaluation_passes(tmp_path):
    evaluations = checked(tmp_path)
    assert {check.verdict for each in evaluations for check in each.checks} == {Verdict.PASSED}
    # Behind a defence there are the attacks on the model alone to compare with.
    assert len(evaluations[1].checks) == len(evaluations[0].checks) + 2
    table = robustness.table_robustness(evaluations, BOUNDS)
    assert {row["checks"] for row in rows(table)} == {"passed"}
    assert {row["grade"] for row in rows(table) if row["attack"] == "worst case"} == {"A"}
    checks = robustness.table_checks(evaluations)
    assert {(row["passed"], row["verdict"]) for row in rows(checks)} == {("true", "passed")}
    count = sum(len(each.checks) for each in evaluations)
    assert len(checks.rows) == len(checks.lines) == count
    assert checks.answer == ALL_PASSED.format(count)


def test_a_weak_attack_beside_a_strong_one_lowers_no_grade(tmp_path):
    """A black box that breaks more than the strongest gradients do says that they mislead."""
    weak = Evaluation(Network("m"), checks=[])
    weak.outcomes = read(tmp_path / "a", CORRECT)[0].outcomes
    fails = [Check("as strong as square-m-none", f"{name}-m-none", Verdict.FAILED, 0, "")
             for name in ("pgd", "square")]  # fmt: skip
    linf = ThreatModel("linf", 4)
    for check, counts in zip(fails, (True, False), strict=True):
        weak.checks = [check]
        assert weak.decisive(linf, BOUNDS, ["square"]) == ([check] if counts else [])
    # Where no attack uses gradients, it is the strongest of all.
    weak.checks = fails
    assert weak.decisive(linf, BOUNDS, ["pgd", "square"]) == fails[:1]
    # Nothing on this ball was tried, so there is nothing to say of it.
    assert weak.decisive(ThreatModel("linf", 2), BOUNDS, ["square"]) == []
    # An attack that goes too far makes the worst case too low, weak or not.
    weak.checks = [Check("stays in bounds", "square-m-none", Verdict.FAILED, 9, "")]
    assert weak.decisive(linf, BOUNDS, ["square"]) == weak.checks
    assert weak.decisive(ThreatModel("l2", 300), BOUNDS, ["square"]) == []


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        # As many are right under random changes as behind noise under PGD.
        ({"controls": 0.2}, {("noise", "beats signs"), ("noise", "beats shuffled")}),
        ({"farthest": 5.0}, {(name, "stays in bounds") for name in BOTH}),
        ({"farthest": 0.0}, {(name, "changes images") for name in BOTH}),
        ({"curve": (0.8, 0.4, 0.3)}, {(name, "falls to nothing") for name in BOTH}),
        (
            {"curve": (0.4, 0.8, 0.0)},
            {(name, f"never rises with the {what}") for name in BOTH for what in EFFORT},
        ),
        ({"length": 0.0}, {(name, "has gradients") for name in BOTH}),
        ({"checkup": ["failed"]}, {(name, "check-up: failed") for name in BOTH}),
    ],
)
def test_an_unsound_one_fails_and_is_marked(tmp_path, changes, names):
    evaluations = checked(tmp_path, **changes)
    assert of_verdict(evaluations, Verdict.FAILED) == names
    for defence in BOTH:
        mine = {name for owner, name in names if owner == defence}
        # What is about an attack on the l_inf ball says nothing of the one on the l_2 ball.
        of_network = {name for name in mine if not name.startswith(OF_ATTACK)}
        for row in worst_rows(evaluations, defence):
            told = mine if row["norm"] == "linf" else of_network
            assert row["grade"] == ("D" if told else "A")
            assert row["checks"].startswith("failed: ") == bool(mine)
            assert all(name in row["checks"] for name in mine)
    checks = robustness.table_checks(evaluations)
    marked = {line[2] for line in checks.lines if line[4] == "**failed**"}
    assert marked == {name for _, name in names}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"curve": (0.8, 0.4, 0.08)}, {"falls to nothing"}),
        ({"curve": (0.5, 0.52, 0.0)}, {f"never rises with the {what}" for what in EFFORT}),
        ({"checkup": ["note", "warning"]}, {"check-up: warning"}),
    ],
)
def test_what_cannot_be_shown_is_marked(tmp_path, changes, names):
    evaluations = checked(tmp_path, **changes)
    assert of_verdict(evaluations, Verdict.FAILED) == set()
    assert of_verdict(evaluations, Verdict.NOT_SHOWN) == {
        (defence, name) for defence in BOTH for name in names
    }
    for row in worst_rows(evaluations, "noise"):
        assert row["grade"] == "C"
        assert row["checks"].startswith("not shown: ")
        assert all(name in row["checks"] for name in names)


def test_a_note_of_a_check_up_is_no_failure(tmp_path):
    evaluations = checked(tmp_path, checkup=["passed", "note"])
    for row in worst_rows(evaluations, "noise"):
        assert (row["grade"], row["checks"]) == ("B", "passed")


def test_failures_come_before_what_is_not_shown():
    verdicts = {"a": Verdict.NOT_SHOWN, "b": Verdict.FAILED, "c": Verdict.PASSED}
    checks = [Check(name, "x", verdict, 0.0, "") for name, verdict in verdicts.items()]
    assert Evaluation(Network("m"), checks=[*checks, *checks]).remark == "failed: b; not shown: a"
    assert Evaluation(Network("m"), checks=checks[2:]).remark == "passed"


@pytest.mark.parametrize(
    ("weaker", "verdict"), [(first(0.02), Verdict.FAILED), (first(0.19), Verdict.NOT_SHOWN)]
)
@pytest.mark.parametrize("dataset", ["pgd-m-none", "square-m-noise"])
def test_an_attack_that_knows_more_but_does_less(tmp_path, dataset, weaker, verdict):
    # What was made against the model alone, or without gradients, beats what knows the network.
    evaluations = checked(tmp_path, SOUND | {(dataset, "noise"): weaker})
    others = [check for check in evaluations[1].checks if check.verdict != Verdict.PASSED]
    assert [(check.name, check.verdict) for check in others] == [
        (f"as strong as {dataset}", verdict)
    ]


@pytest.mark.parametrize(
    ("square", "compared"),
    [
        (ThreatModel("linf", 4), True),
        (ThreatModel("linf", 2), True),
        (ThreatModel("linf", 8), False),
        (ThreatModel("l2", 2), False),
    ],
)
def test_only_what_may_do_no_more_is_a_twin_without_gradients(tmp_path, square, compared):
    evaluations = checked(tmp_path, bounds=BOUNDS | {"square": square})
    names = [(check.subject, check.name) for check in evaluations[1].checks]
    assert (("pgd-m-noise", "as strong as square-m-noise") in names) == compared
    # Square has a twin that does not know the defence; one with gradients is not asked for.
    assert ("square-m-noise", "as strong as square-m-none") in names
    assert ("square-m-noise", "as strong as pgd-m-noise") not in names


def test_a_missing_score_is_reported(tmp_path):
    outcomes = SOUND | {("pgd-m-noise", "noise"): first(0.1)[:40]}
    with pytest.raises(
        UserError, match=r"pgd-m-noise: 60 of its 100 images have no score, 040\.jpeg"
    ):
        checked(tmp_path, outcomes)


def test_the_script_writes_both_tables(tmp_path):
    paths, cells = written(tmp_path, SOUND)
    outputs = {
        form: [str(tmp_path / f"{name}.{form}") for name in ("robustness", "checks")]
        for form in ("csv", "markdown", "json")
    }
    said = script.main(
        function="robustness.tables",
        files=paths,
        cells=(),
        options={
            "outcomes": cells,
            "bounds": {"pgd": ("linf", 4), "square": ("linf", 4)},
            "gradient_free": ["square"],
        },
        files_of={**files(tmp_path), "real": []},
        pattern=None,
        note="A remark.",
        **outputs,
    )
    assert said.startswith("worst case: at best 20.0% (m/noise within l_inf 4); ")
    assert said.endswith(ALL_PASSED.format(30))
    robust, checks = (Path(path).read_text() for path in outputs["csv"])
    assert robust.splitlines()[0].endswith(",spread,checks,norm,radius,grade,accuracy_real")
    assert "m,noise,all,worst case,100,0.200000," in robust
    assert checks.startswith("model,defence,check,subject,passed,found")
    robust, checks = (Path(path).read_text() for path in outputs["markdown"])
    assert robust.endswith("A remark.\n")
    assert checks.startswith("# Checks of the evaluation\n")


def attacked(folder: Path, dataset: str, correct_real: np.ndarray | None) -> str:
    """A data set, with outcomes in real values if an attack searched among them."""
    arrays = {
        "images": np.zeros((N, 2, 2, 3), np.uint8),
        "labels": np.zeros(N, np.int64),
        "ids": np.array(IDS, dtype=object),
        "classes": np.array(["a"], dtype=object),
    }
    if correct_real is not None:
        arrays["correct_real"] = correct_real
    path = folder / f"{dataset}.h5"
    store.save(path, "images/1", arrays, seed=0, params={}, source="a test")
    return str(path)


def test_what_holds_among_real_values_stands_beside_it(tmp_path):
    evaluations = read(tmp_path, CORRECT)
    real = attacked(tmp_path, "pgd_l2-m-none", first(0.15))
    robustness.add_real_values(evaluations, [real])
    table = robustness.table_robustness(evaluations, BOUNDS)
    reached = {
        (row["defence"], row["attack"], row["norm"]): row["accuracy_real"]
        for row in rows(table)
        if row["accuracy_real"] != "–"
    }
    assert reached == {("none", "pgd_l2", "l2"): 0.15, ("none", "worst case", "l2"): 0.15}
    text = "\n".join(" ".join(line) for line in table.lines)
    assert text.count("15.0 in real values") == 2
    wrong = attacked(tmp_path, "square-m-none", None)
    with pytest.raises(UserError, match=r"square-m-none\.h5: has no outcome in real values"):
        robustness.add_real_values(evaluations, [wrong])
