"""The run's answer in words: is it robust, how sure is that, and what next."""

from collections import Counter
from collections.abc import Iterator

from advrob.findings.checks import Verdict
from advrob.findings.robustness import ThreatModel
from advrob.plan.names import UNDEFENDED, Network
from advrob.report.answer import NO, ROBUST, UNDECIDED, YES, Answer, Guarantee, ModelAnswer

# Images with which a 95 % interval is at most 10 points wide: 1.96**2 / 4 / 0.05**2, rounded up.
ENOUGH = 400
# An interval that is wider than this leaves a question open, in points.
WIDE = 20
CHECKED = {
    Verdict.PASSED: "passed",
    Verdict.NOTED: "have a note",
    Verdict.NOT_SHOWN: "could not be shown",
    Verdict.FAILED: "failed",
}


def sentences(answer: Answer) -> dict[str, list[str]]:
    """The answer: is each model ``robust``, by which ``numbers``, how ``sure``, and what ``next``.

    The first two have one text a model.
    """
    return {
        "robust": [_robust(each) for each in answer.models],
        "numbers": [" ".join(_numbers(each)) for each in answer.models],
        "sure": list(_sure(answer)),
        "next": list(_next(answer)),
    }


def within(threat: ThreatModel) -> str:
    """A threat model, with its unit."""
    return f"{threat}/255"


def name(network: Network) -> str:
    """A network for a sentence."""
    if network.defence == UNDEFENDED:
        return f"{network.model} without a defence"
    return f"{network.model} behind {network.defence}"


def _robust(answer: ModelAnswer) -> str:
    threat = answer.threats[0]
    robust = [name(each.network) for each in answer.networks if each.worst[threat].robust == YES]
    verdict = {
        YES: f"{_listed(robust)} {_be(len(robust))} robust within {within(threat)}.",
        NO: f"{answer.model} is not robust within {within(threat)}.",
        UNDECIDED: f"Whether {answer.model} is robust within {within(threat)} is undecided.",
    }
    return verdict[answer.robust(threat)]


def _numbers(answer: ModelAnswer) -> Iterator[str]:
    threat = answer.threats[0]
    bare, best, gains = answer.undefended, answer.best(threat), answer.gains(threat)
    if bare:
        yield (
            f"Without a defence, {answer.model} classifies {bare.original} of {bare.images:,} "
            f"original images correctly, and {bare.worst[threat].share} under the worst attack "
            f"(evidence: {bare.worst[threat].grade})."
        )
    if best is None:
        return
    worst = best.worst[threat]
    sentence = (
        f"The best defence is {best.network.defence}: {best.original} are correct without an "
        f"attack, and {worst.share} under the worst one (evidence: {worst.grade})"
    )
    if gains:
        sentence += ", more than without a defence and more than chance explains"
    elif bare and worst.share.accuracy > bare.worst[threat].share.accuracy:
        sentence += ", which may be more than without a defence only by chance"
    elif bare:
        sentence += ", no more than without a defence"
    yield f"{sentence}."
    if best.unaware and best.unaware.accuracy > worst.share.accuracy:
        yield (
            f"Attacks that do not know the defence leave {best.unaware}, which says nothing about "
            "an attacker who does."
        )


def _sure(answer: Answer) -> Iterator[str]:
    networks = answer.networks
    counts = Counter[str]()
    for each in networks:
        counts.update(each.checks)
    outcomes = _listed([f"{counts[key]} {words}" for key, words in CHECKED.items() if counts[key]])
    yield f"Of {counts.total()} checks of the attacks and networks, {outcomes}."
    for each in networks:
        if each.failed:
            yield (
                f"Failed for {name(each.network)}: {', '.join(each.failed)}. Accuracy under attack "
                "may be high there only because the attacks are weak."
            )
    if answer.calibration:
        yield _calibrated(answer)
    images, widest = min(each.images for each in networks), _widest(answer)
    yield f"With {images:,} attacked images, 95 % intervals are up to {widest:.0f} points wide."
    for model in answer.models:
        yield _guaranteed(model)


def _calibrated(answer: Answer) -> str:
    total = sum(answer.calibration.values())
    passed, flagged, failed = (
        answer.calibration.get(verdict, 0) for verdict in ("passed", "flagged", "failed")
    )
    sentence = (
        f"On networks whose robustness is known exactly, the attacks came close to the truth in "
        f"{passed} of {total} worst cases"
    )
    if flagged:
        sentence += (
            f", and {flagged} more {'was' if flagged == 1 else 'were'} flagged as unreliable"
        )
    return f"{sentence}; {failed} {_be(failed)} wrong without a warning."


def _guaranteed(answer: ModelAnswer) -> str:
    best: Guarantee | None = answer.guarantee
    if best is None:
        return f"{answer.model} has no guarantee: no certificates were computed."
    noise = f"{name(best.network)}, under Gaussian noise of standard deviation {best.sigma:g}/255"
    if best.farthest is None:
        return f"{noise}, has no guarantee: no image is certified within l_2 {best.radius:g}/255."
    return (
        f"{noise}, has a guarantee: {best.share} of the images are certified to be classified "
        f"correctly within l_2 {best.radius:g}/255, and some within {best.farthest:g}/255."
    )


def _next(answer: Answer) -> Iterator[str]:
    networks = answer.networks
    if failed := [name(each.network) for each in networks if each.failed]:
        yield (
            f"Quote no number of {_listed(failed)} before the failed checks are understood; the "
            "table of checks says what was found and what was expected."
        )
    if answer.calibration.get("failed"):
        yield (
            "Strengthen the attacks (more iterations, restarts or draws) until no worst case of "
            "the calibration is wrong without a warning."
        )
    images = min(each.images for each in networks)
    if _widest(answer) > WIDE and images < ENOUGH:
        yield (
            f"Attack more images: {ENOUGH} make every interval about 10 points wide or less "
            f"(experiments.robustness.images; now {images:,} images are attacked)."
        )
    for model in answer.models:
        yield from _advice(model)
    if unproven := [each.model for each in answer.models if each.guarantee is None]:
        yield (
            f"Attacks can only refute. For a guarantee of {_listed(unproven)}, configure "
            "experiments.smoothing."
        )


def _advice(answer: ModelAnswer) -> Iterator[str]:
    threat = answer.threats[0]
    robust, gains = answer.robust(threat), answer.gains(threat)
    if robust == YES:
        yield (
            f"Attack {answer.model} with methods of your own before you rely on it: accuracy under "
            "attack is an upper bound."
        )
    elif gains:
        yield (
            f"Do not rely on {answer.model} yet: its best defence helps, but "
            f"{'does not reach' if robust == NO else 'is not shown to reach'} "
            f"{100 * ROBUST:.0f} % of the images under attack."
        )
    else:
        yield (
            f"Do not rely on any of the defences that were tried with {answer.model}; adversarial "
            "training and randomised smoothing are the ones to try next."
        )


def _widest(answer: Answer) -> float:
    """The widest interval of a worst case, in points."""
    shares = (worst.share for each in answer.networks for worst in each.worst.values())
    return max(100 * (share.high - share.low) for share in shares)


def _listed(items: list[str]) -> str:
    *most, last = items or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


def _be(count: int) -> str:
    return "is" if count == 1 else "are"
