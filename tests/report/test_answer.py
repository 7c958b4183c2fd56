"""The answer against tables of which it is known."""

import json
from pathlib import Path

import pytest

from advrob.errors import UserError
from advrob.findings.robustness import ThreatModel
from advrob.report import answer as answers
from advrob.report.answer import Share, WorstCase
from advrob.report.sentences import sentences
from reported import certified_rows, check_rows, robustness_rows, verdict_rows, write_csv

LINF, L2 = ThreatModel("linf", 4.0), ThreatModel("l2", 128.0)


def answer_of(folder, rows, checks=None, calibration=("passed",), certified=None):
    """The answer from tables with these rows."""
    tables = {
        "robustness": rows,
        "checks": checks or check_rows("passed", "passed"),
        "calibration": verdict_rows("", *calibration),
        "replication": verdict_rows("undecided", "reproduced", "undecided", "not tested"),
    }
    paths = {name: write_csv(folder / f"{name}.csv", rows) for name, rows in tables.items()}
    tables = [write_csv(folder / "certified.csv", certified)] if certified else []
    return answers.read(**paths | {"replication": [paths["replication"]]}, certified=tables)


def test_an_answer_needs_no_claims(tmp_path):
    tables = {
        "robustness": robustness_rows({"none": 10}),
        "checks": check_rows("passed"),
        "calibration": verdict_rows("", "passed"),
    }
    paths = {name: write_csv(tmp_path / f"{name}.csv", rows) for name, rows in tables.items()}
    answer = answers.read(**paths, replication=[], certified=[])
    assert answer.claims == {}
    assert answers.as_data(answer, {})["claims"] == {}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("robustness", lambda text: text.replace(",", ";")),
        ("robustness", lambda text: text.partition("\n")[0]),
        ("checks", lambda text: text[:-9]),
        ("calibration", lambda text: text.replace("verdict", "grade")),
        ("calibration", lambda text: ""),
    ],
)
def test_a_table_that_another_program_wrote_is_named(tmp_path, name, change):
    tables = {
        "robustness": robustness_rows({"none": 10}),
        "checks": check_rows("passed"),
        "calibration": verdict_rows("", "passed"),
    }
    paths = {name: write_csv(tmp_path / f"{name}.csv", rows) for name, rows in tables.items()}
    damaged = Path(paths[name])
    damaged.write_text(change(damaged.read_text()))
    with pytest.raises(UserError, match=rf"{name}\.csv.*: not as this workflow writes it"):
        answers.read(**paths, replication=[], certified=[])


def test_a_network_has_its_worst_case_in_each_threat_model(tmp_path):
    (model,) = answer_of(tmp_path, robustness_rows({"none": 10, "noise": 50})).models
    assert model.threats == [LINF, ThreatModel("linf", 10.0), L2]
    noise = model.networks[1]
    assert noise.worst[LINF] == WorstCase(Share(0.5, 0.45, 0.55), "A")
    assert noise.worst[L2] == WorstCase(Share(0.25, 0.2, 0.3), "C")
    assert (noise.images, noise.original.accuracy) == (100, 0.8)
    assert noise.unaware == Share(0.6, 0.55, 0.65), "only attacks within the first threat model"


@pytest.mark.parametrize(
    ("low", "high", "grade", "verdict"),
    [
        (0.1, 0.4, "D", "no"),
        (0.6, 0.8, "A", "yes"),
        (0.6, 0.8, "B", "yes"),
        (0.6, 0.8, "C", "undecided"),
        (0.6, 0.8, "D", "undecided"),
        (0.4, 0.6, "A", "undecided"),
    ],
)
def test_robust_needs_evidence_and_not_robust_does_not(low, high, grade, verdict):
    assert WorstCase(Share((low + high) / 2, low, high), grade).robust == verdict


@pytest.mark.parametrize(
    ("worst", "gains", "said"),
    [
        ({"none": 10, "noise": 12}, False, "may be more than without a defence only by chance"),
        ({"none": 10, "noise": 45}, True, "more than without a defence and more than chance"),
        ({"none": 10, "noise": 10}, False, "no more than without a defence"),
        ({"none": 10, "noise": 12, "pca": 50}, True, "The best defence is pca: 80.0 %"),
        ({"noise": 12}, None, "12.0 % (7.0 to 17.0) under the worst one (evidence: A)."),
        ({"none": 10}, None, "m is not robust within l_inf 4/255."),
        ({"none": 10, "noise": 80}, True, "m behind noise is robust within l_inf 4/255."),
        ({"none": 10, "noise": 50}, True, "Whether m is robust within l_inf 4/255 is undecided."),
    ],
)
def test_the_best_defence_and_its_gain(tmp_path, worst, gains, said):
    answer = answer_of(tmp_path, robustness_rows(worst))
    assert answer.models[0].gains(LINF) is gains
    words = sentences(answer)
    assert said in f"{words['robust'][0]} {words['numbers'][0]}"


def test_attacks_that_do_not_know_the_defence_do_not_count(tmp_path):
    answer = answer_of(tmp_path, robustness_rows({"none": 10, "noise": 12}))
    (text,) = sentences(answer)["numbers"]
    assert "Attacks that do not know the defence leave 60.0 %" in text


def test_failed_checks_are_part_of_the_answer(tmp_path):
    checks = check_rows("passed", "noted", "failed") + check_rows("not shown", defence="noise")
    answer = answer_of(tmp_path, robustness_rows({"none": 10, "noise": 12}, grade="D"), checks)
    said = sentences(answer)
    assert said["sure"][:2] == [
        "Of 4 checks of the attacks and networks, 1 passed, 1 have a note, 1 could not be shown "
        "and 1 failed.",
        "Failed for m without a defence: check 2. Accuracy under attack may be high there only "
        "because the attacks are weak.",
    ]
    assert said["next"][0].startswith("Quote no number of m without a defence before")


def test_calibration_is_part_of_the_answer(tmp_path):
    rows = robustness_rows({"none": 10})
    answer = answer_of(tmp_path, rows, calibration=("passed", "passed", "flagged", "failed"))
    said = sentences(answer)
    assert (
        "On networks whose robustness is known exactly, the attacks came close to the truth in 2 "
        "of 4 worst cases, and 1 more was flagged as unreliable; 1 is wrong without a warning."
    ) in said["sure"]
    assert any(text.startswith("Strengthen the attacks") for text in said["next"])
    calm = sentences(answer_of(tmp_path, rows))
    assert not any(text.startswith("Strengthen the attacks") for text in calm["next"])


@pytest.mark.parametrize(("width", "n", "more"), [(0.2, 20, True), (0.2, 900, False)])
def test_few_images_call_for_more(tmp_path, width, n, more):
    answer = answer_of(tmp_path, robustness_rows({"none": 10}, width=width, n=n))
    advice = [text for text in sentences(answer)["next"] if text.startswith("Attack more images")]
    assert bool(advice) == more


def test_the_best_guarantee_counts(tmp_path):
    certified = [
        *certified_rows({0: 0.9, 8: 0.5, 16: 0.2, 24: 0}),
        *certified_rows({0: 0.8, 8: 0.6, 16: 0, 24: 0}, sigma="32"),
        *certified_rows({0: 1, 8: 1}, dataset="other"),
    ]
    answer = answer_of(tmp_path, robustness_rows({"none": 10}), certified=certified)
    best = answer.models[0].guarantee
    assert (best.sigma, best.radius, best.share.accuracy, best.farthest) == (32, 8, 0.6, 8)
    said = sentences(answer)
    assert any("has a guarantee: 60.0 %" in text for text in said["sure"])
    assert not any("experiments.smoothing" in text for text in said["next"])


def test_the_answer_says_which_network_has_a_guarantee_and_how_far(tmp_path):
    certified = [
        *certified_rows({0: 0.9, 8: 0.5, 16: 0.2, 24: 0.1}, defence="none"),
        *certified_rows({0: 0.8, 8: 0.7, 16: 0.3, 24: 0}, defence="dncnn"),
    ]
    answer = answer_of(tmp_path, robustness_rows({"none": 10}), certified=certified)
    (sentence,) = [text for text in sentences(answer)["sure"] if "guarantee" in text]
    assert sentence == (
        "m behind dncnn, under Gaussian noise of standard deviation 16/255, has a guarantee: "
        "70.0 % (10.0 to 90.0) of the images are certified to be classified correctly within l_2 "
        "8/255, and some within 16/255."
    )
    data = answers.as_data(answer, sentences(answer))["models"]["m"]["guarantee"]
    assert (data["defence"], data["radius"], data["farthest_radius"]) == ("dncnn", 8, 16)


def test_no_certified_image_is_no_guarantee(tmp_path):
    certified = certified_rows({0: 0.9, 8: 0})
    answer = answer_of(tmp_path, robustness_rows({"none": 10}), certified=certified)
    assert answer.models[0].guarantee.farthest is None
    assert any("no image is certified within l_2 8/255" in t for t in sentences(answer)["sure"])


def test_the_answer_is_data(tmp_path):
    rows = robustness_rows({"none": 10, "noise": 40}) + robustness_rows({"none": 3}, model="o")
    answer = answer_of(tmp_path, rows, certified=certified_rows({8: 0.5}))
    data = json.loads(json.dumps(answers.as_data(answer, sentences(answer))))
    assert list(data["models"]) == ["m", "o"]
    first, _, last = data["models"]["m"]["threat_models"]
    assert first == {
        **{"norm": "linf", "radius": 4.0, "robust": "no"},
        **{"best_defence": "noise", "gains_beyond_chance": True},
    }
    assert last["norm"] == "l2"
    noise = data["models"]["m"]["networks"][1]
    assert noise["original"] == {"accuracy": 0.8, "low": 0.75, "high": 0.85}
    assert noise["worst_cases"][0]["grade"] == "A"
    assert data["models"]["m"]["guarantee"]["accuracy"] == 0.5
    other = data["models"]["o"]
    assert other["guarantee"] is None
    assert other["threat_models"][0]["best_defence"] is None
    assert data["calibration"] == {"passed": 1, "of": 1}
    assert data["claims"] == {"reproduced": 1, "undecided": 2, "not tested": 1}
