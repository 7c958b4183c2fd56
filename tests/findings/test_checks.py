"""Checks of an evaluation: when each is passed, failed and not shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from advrob.errors import UserError
from advrob.evaluation.checkup import Finding
from advrob.files import store
from advrob.files.records import save_records
from advrob.findings import checks, metrics
from advrob.findings.checks import Check, Outcome, Verdict
from advrob.plan.names import DataSet, Network

N = 100
IDS = [f"{number:03}.jpeg" for number in range(N)]
PASSED, NOTED, NOT_SHOWN = Verdict.PASSED, Verdict.NOTED, Verdict.NOT_SHOWN
FAILED = Verdict.FAILED


def first(share: float, n: int = N) -> np.ndarray:
    """Of n images the first are right."""
    return np.arange(n) < round(share * n)


def last(share: float, n: int = N) -> np.ndarray:
    """Of n images the last are right."""
    return first(share, n)[::-1]


def control(path: Path, attacks: Mapping[str, tuple[np.ndarray, float]]) -> str:
    """A file of controls.

    Args:
        path: where it goes.
        attacks: data set -> what is right under random changes, and how far the attack went.
    """
    correct, farthest = zip(*attacks.values(), strict=True)
    arrays = {
        "datasets": np.array(list(attacks), dtype=object),
        "controls": np.array(["signs", "shuffled"], dtype=object),
        "correct": np.stack([np.stack([each, each]) for each in correct]),
        "farthest": np.array(farthest),
        "ids": np.array(IDS[: len(correct[0])], dtype=object),
    }
    store.save(path, "controls/1", arrays, seed=0, params={}, source="a test")
    return str(path)


def budget(
    path: Path,
    shares: Sequence[float],
    *,
    efforts: Sequence[float] | None = None,
    length: float | np.ndarray = 1.0,
    n: int = N,
) -> str:
    """A file of budgets.

    Args:
        path: where it goes.
        shares: of images that hold within radii 0, 1, 2, ...
        efforts: of those that hold against 1, 2, 3, ... gradients; the same by default.
        length: of the gradients.
        n: images.
    """
    efforts = shares if efforts is None else efforts
    arrays = {
        "radii": np.arange(len(shares), dtype=np.float64),
        "correct": np.stack([first(share, n) for share in shares]),
        "efforts": np.arange(1, len(efforts) + 1),
        "correct_effort": np.stack([first(share, n) for share in efforts]),
        "gradients": np.full(n, length, np.float32),
        "ids": np.array(IDS[:n], dtype=object),
    }
    store.save(path, "budget/1", arrays, seed=0, params={}, source="a test")
    return str(path)


def findings(path: Path, *levels: str) -> str:
    """A file of a check-up with a finding of each level."""
    records = [
        Finding(level, level, "what it is", "what it should be", "" if level == "passed" else "Do.")
        for level in levels
    ]
    save_records(path, records, model="m", defence="none", seed=0)
    return str(path)


def outcomes(correct_on: Mapping[str, np.ndarray]) -> dict[DataSet, Outcome]:
    """What a network got right, by the names of data sets."""
    return {
        dataset: Outcome(
            dataset, dict(zip(IDS, correct.tolist(), strict=False)), metrics.spread(correct[None])
        )
        for dataset, correct in (
            (DataSet.parse(name), correct) for name, correct in correct_on.items()
        )
    }


def verdicts(results: Sequence[Check]) -> dict[tuple[str, str], Verdict]:
    return {(check.subject, check.name): check.verdict for check in results}


# One thing costs more than another --------------------------------------------------------------


@pytest.mark.parametrize(
    ("weak", "strong", "verdict"),
    [
        (first(0.5), first(0.1), PASSED),
        # 8 of 100 that only the weaker one leaves: p = 2 / 2^8, below 0.01. 7 are not enough.
        (first(0.5), first(0.42), PASSED),
        (first(0.5), first(0.43), NOT_SHOWN),
        # Nothing is left, however few images there are, and whatever the other does.
        (first(0.4, 5), first(0, 5), PASSED),
        (first(0, 5), first(0, 5), PASSED),
        # An attack that does nothing: with 100 images that shows, with 20 it does not.
        (first(0.8), first(0.8), FAILED),
        (first(0.8, 20), first(0.8, 20), NOT_SHOWN),
        (first(0.1), first(0.5), FAILED),
    ],
)
def test_stronger(weak: np.ndarray, strong: np.ndarray, verdict: Verdict) -> None:
    result = checks.stronger("beats it", "pgd-m-none", weak, strong, IDS[: len(weak)])
    assert (result.name, result.subject, result.verdict) == ("beats it", "pgd-m-none", verdict)
    assert result.passed == (verdict == PASSED)
    assert result.measured == pytest.approx(weak.mean() - strong.mean())


def test_crops_of_one_photograph_show_no_more_than_it_does() -> None:
    crops = [f"{number // 20}.jpeg#{number % 20}" for number in range(N)]
    assert checks.stronger("", "", first(0.6), first(0.2), IDS).verdict == PASSED
    assert checks.stronger("", "", first(0.6), first(0.2), crops).verdict == NOT_SHOWN


# An attack is as strong as one that knows less --------------------------------------------------


@pytest.mark.parametrize(
    ("weak", "strong", "verdict"),
    [
        (first(0.6), first(0.2), PASSED),
        (first(0.6), first(0.6), PASSED),
        # The other breaks nothing, which tests nothing.
        (first(0.8), first(0.2), NOT_SHOWN),
        (first(0.8), first(0.8), NOT_SHOWN),
        # What is right under neither the attack nor the other does not matter.
        (first(0.8), first(0), PASSED),
        # One image of many survives what the other breaks.
        (first(0.6), first(0.2) | (np.arange(N) == 70), NOT_SHOWN),
        # Of 7 that survive p is 2 / 2^7, of 8 half of that.
        (first(0.2), first(0.27), NOT_SHOWN),
        (first(0.2), first(0.28), FAILED),
        (last(0.4), first(0.8), FAILED),
    ],
)
def test_as_strong(weak: np.ndarray, strong: np.ndarray, verdict: Verdict) -> None:
    result = checks.as_strong("pgd-m-none", "pgd-m-noise", weak, strong, first(0.8), IDS)
    assert (result.name, result.subject) == ("as strong as pgd-m-none", "pgd-m-noise")
    assert result.verdict == verdict
    assert result.measured == pytest.approx(weak.mean() - strong.mean())


def test_an_image_that_was_wrong_from_the_start_is_not_broken() -> None:
    # The other is wrong on images 60 to 99, and so is the network without an attack.
    result = checks.as_strong("a", "b", first(0.6), first(0.5), first(0.6), IDS)
    assert result.verdict == NOT_SHOWN


def test_attacks_are_compared_with_those_that_know_less() -> None:
    network = Network("m", "noise")
    correct = {
        "original": first(0.7),
        "pgd-m-none": first(0.6),
        "square-m-none": first(0.65),
        "pgd-m-noise": first(0.2),
        "square-m-noise": first(0.4),
        "pgd-other-noise": first(0.0),
    }
    strength = checks.strength_checks(network, outcomes(correct), {"pgd": ["square"]})
    assert verdicts(strength) == {
        ("pgd-m-noise", "as strong as pgd-m-none"): PASSED,
        ("pgd-m-noise", "as strong as square-m-noise"): PASSED,
        ("square-m-noise", "as strong as square-m-none"): PASSED,
    }
    # A black box that breaks nothing contradicts nobody.
    idle = correct | {"square-m-noise": correct["original"]}
    strength = checks.strength_checks(network, outcomes(idle), {"pgd": ["square"]})
    assert verdicts(strength)["pgd-m-noise", "as strong as square-m-noise"] == NOT_SHOWN
    # It does where it breaks what gradients do not: they are masked.
    masked = correct | {"pgd-m-noise": first(0.6)}
    strength = checks.strength_checks(network, outcomes(masked), {"pgd": ["square"]})
    assert verdicts(strength)["pgd-m-noise", "as strong as square-m-noise"] == FAILED


def test_a_model_alone_has_no_twin_that_knows_less() -> None:
    correct = {"original": first(0.7), "pgd-m-none": first(0.6)}
    assert checks.strength_checks(Network("m"), outcomes(correct), {"pgd": ["square"]}) == []


# Bounds and random changes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("farthest", "bounds", "changes"),
    [
        (4.0, PASSED, PASSED),
        (4.0005, PASSED, PASSED),
        (4.01, FAILED, PASSED),
        (0.0, PASSED, FAILED),
    ],
)
def test_an_attack_changes_images_within_its_bounds(
    tmp_path: Path, farthest: float, bounds: Verdict, changes: Verdict
) -> None:
    scored = outcomes({"original": first(0.8), "pgd-m-none": first(0.1)})
    path = control(tmp_path / "controls.h5", {"pgd-m-none": (first(0.7), farthest)})
    by_check = verdicts(checks.control_checks(scored, path, {"pgd": 4}))
    assert by_check == {
        ("pgd-m-none", "stays in bounds"): bounds,
        ("pgd-m-none", "changes images"): changes,
        ("pgd-m-none", "beats signs"): PASSED,
        ("pgd-m-none", "beats shuffled"): PASSED,
    }


def test_an_attack_that_changes_nothing_passes_for_nothing(tmp_path: Path) -> None:
    scored = outcomes({"original": first(0.8), "pgd-m-none": first(0.8)})
    path = control(tmp_path / "controls.h5", {"pgd-m-none": (first(0.8), 0.0)})
    by_check = verdicts(checks.control_checks(scored, path, {"pgd": 4}))
    assert {name for (_, name), verdict in by_check.items() if verdict == FAILED} == {
        *("changes images", "beats signs", "beats shuffled")
    }
    # Where the network is always wrong, there is nothing to change.
    scored = outcomes({"original": first(0), "pgd-m-none": first(0)})
    path = control(tmp_path / "controls.h5", {"pgd-m-none": (first(0), 0.0)})
    assert set(verdicts(checks.control_checks(scored, path, {"pgd": 4})).values()) == {PASSED}


def test_each_attack_has_its_own_bound_and_controls(tmp_path: Path) -> None:
    scored = outcomes({"original": first(0.8), "a-m-none": first(0.3), "b-m-none": first(0.3)})
    attacks = {"a-m-none": (first(0.3), 7.0), "b-m-none": (first(0.8), 7.0)}
    path = control(tmp_path / "controls.h5", attacks)
    by_check = verdicts(checks.control_checks(scored, path, {"a": 8, "b": 4}))
    failed = {key for key, verdict in by_check.items() if verdict == FAILED}
    assert failed == {
        ("b-m-none", "stays in bounds"),
        ("a-m-none", "beats signs"),
        ("a-m-none", "beats shuffled"),
    }


# Radius, effort, floor and gradients ------------------------------------------------------------


def test_accuracy_falls_with_radius_and_effort(tmp_path: Path) -> None:
    path = budget(tmp_path / "budget.h5", (0.8, 0.4, 0.0), efforts=(0.5, 0.3))
    assert verdicts(checks.budget_checks(path)) == {
        ("0 to 2", "falls with the radius"): PASSED,
        ("0 to 1", "never rises with the radius"): PASSED,
        ("1 to 2", "never rises with the radius"): PASSED,
        ("1 to 2", "falls with the effort"): PASSED,
        ("1 to 2", "never rises with the effort"): PASSED,
        ("radius 2", "falls to nothing"): PASSED,
        ("original", "has gradients"): PASSED,
    }


@pytest.mark.parametrize(
    ("shares", "n", "falls", "rises"),
    [
        ((0.8, 0.5), N, PASSED, PASSED),
        # Nothing happens.
        ((0.8, 0.8), N, FAILED, PASSED),
        ((0.8, 0.8), 20, NOT_SHOWN, PASSED),
        # 7 images fewer are significant at 5 %, and not at 1 %.
        ((0.8, 0.73), N, NOT_SHOWN, PASSED),
        ((0.3, 0.37), N, FAILED, NOT_SHOWN),
        ((0.3, 0.38), N, FAILED, FAILED),
        ((0.3, 0.4), 20, NOT_SHOWN, NOT_SHOWN),
    ],
)
@pytest.mark.parametrize("budgeted", ["radius", "effort"])
def test_verdicts_on_a_curve(
    tmp_path: Path,
    budgeted: str,
    shares: tuple[float, float],
    n: int,
    falls: Verdict,
    rises: Verdict,
) -> None:
    sound = (0.8, 0.0)
    radii, efforts = (shares, sound) if budgeted == "radius" else (sound, shares)
    path = budget(tmp_path / "budget.h5", radii, efforts=efforts, n=n)
    verdict_of = {check.name: check.verdict for check in checks.budget_checks(path)}
    other = {"radius": "effort", "effort": "radius"}[budgeted]
    assert verdict_of[f"falls with the {budgeted}"] == falls
    assert verdict_of[f"never rises with the {budgeted}"] == rises
    assert (
        verdict_of[f"falls with the {other}"]
        == verdict_of[f"never rises with the {other}"]
        == PASSED
    )


@pytest.mark.parametrize(
    ("share", "n", "verdict"),
    [
        (0.0, N, PASSED),
        (0.05, N, PASSED),
        # Wilson's interval of 9 of 100 begins at 4.8 %, of 10 of 100 at 5.5 %.
        (0.09, N, NOT_SHOWN),
        (0.10, N, FAILED),
        (0.10, 10, NOT_SHOWN),
    ],
)
def test_the_floor(tmp_path: Path, share: float, n: int, verdict: Verdict) -> None:
    path = budget(tmp_path / "budget.h5", (0.8, share), n=n)
    (result,) = (check for check in checks.budget_checks(path) if check.name == "falls to nothing")
    assert result.verdict == verdict
    assert result.measured == pytest.approx(share)


@pytest.mark.parametrize("nothing", [0.0, 1e-13, np.nan, np.inf])
@pytest.mark.parametrize(("share", "verdict"), [(0.05, PASSED), (0.06, FAILED)])
def test_vanishing_gradients(
    tmp_path: Path, nothing: float, share: float, verdict: Verdict
) -> None:
    lengths = np.where(first(share), nothing, 1e-6)
    path = budget(tmp_path / "budget.h5", (0.8, 0.0), length=lengths)
    (result,) = (check for check in checks.budget_checks(path) if check.name == "has gradients")
    assert result.verdict == verdict
    assert result.measured == pytest.approx(share)


# Check-ups --------------------------------------------------------------------------------------


def test_what_a_check_up_found_is_among_the_checks(tmp_path: Path) -> None:
    path = findings(tmp_path / "checkup.json", "passed", "note", "warning", "failed")
    listed = checks.checkup_checks(path)
    assert verdicts(listed) == {
        ("original", "check-up: passed"): PASSED,
        ("original", "check-up: note"): NOTED,
        ("original", "check-up: warning"): NOT_SHOWN,
        ("original", "check-up: failed"): FAILED,
    }
    assert [check.passed for check in listed] == [True, False, False, False]
    assert {check.measured for check in listed} == {"what it is"}
    assert [check.expected for check in listed] == ["what it should be", "Do.", "Do.", "Do."]


def test_a_damaged_check_up_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "checkup.json"
    path.write_text("{")
    with pytest.raises(UserError, match=r"checkup\.json: cannot be read as records"):
        checks.checkup_checks(str(path))


def test_a_check_up_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results/checkups/m/noise.json"
    path.parent.mkdir(parents=True)
    with pytest.raises(UserError, match=r'made with defence "none", expected defence "noise"'):
        checks.checkup_checks(findings(path))


# Grades -----------------------------------------------------------------------------------------


def check(verdict: Verdict) -> Check:
    return Check("a check", "of something", verdict, 0.0, "something else")


@pytest.mark.parametrize(
    ("checked_verdicts", "n", "grade"),
    [
        ([PASSED, PASSED], 100, "A"),
        # 20 of 40 are known to 15 points in each direction.
        ([PASSED, PASSED], 40, "B"),
        # However narrow the interval is, a note is to be known.
        ([PASSED, NOTED], 100, "B"),
        ([PASSED, NOT_SHOWN], 100, "C"),
        ([NOTED, NOT_SHOWN], 100, "C"),
        ([PASSED, NOT_SHOWN], 40, "C"),
        ([PASSED, NOT_SHOWN, FAILED], 100, "D"),
        ([FAILED], 100, "D"),
        # What nobody checked cannot be believed.
        ([], 100, "D"),
    ],
)
def test_grades(checked_verdicts: list[Verdict], n: int, grade: str) -> None:
    worst = metrics.accuracy(first(0.5, n), IDS[:n])
    assert checks.grade([check(verdict) for verdict in checked_verdicts], worst) == grade
