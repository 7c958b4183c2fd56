"""A check-up of a network before it is evaluated: is what attacks see what the network does?

In seconds, for any module on images in [0, 1]. Each finding is a sentence with what to do.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from scipy import stats
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from advrob.errors import UserError
from advrob.evaluation.derivatives import Probe, probe, same_draws
from advrob.job import compute

Level = Literal["passed", "note", "warning", "failed"]

# Images whose predictions are counted, those that are scaled otherwise, those whose answers are
# compared, and those whose gradient is.
COUNTED, SCALED, COMPARED, PROBED = 64, 32, 8, 4
BATCH = 16
# Two answers are the same if they differ by less than this share of their size: sums in another
# order differ by a thousandth of that.
SAME = 1e-3
# How near to 1 probabilities sum.
SUM = 1e-3
# Accuracies are called different, and better than chance, from this p-value on.
LEVEL = 0.01
# So often the same layer runs in one pass where something is repeated.
REPEATED = 3


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: of the check.
        level: ``passed``; ``note``, to be known; ``warning``, attacks may be weaker than they
            could be or the network is not what was meant; ``failed``, results mean nothing.
        found: what was observed.
        expected: what should be.
        advice: what to do, in a sentence; empty if it passed.
    """

    name: str
    level: Level
    found: str
    expected: str
    advice: str = ""


def checkup(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    classes: int | None = None,
) -> list[Finding]:
    """Check a network: output, constancy, accuracy, gradient.

    Args:
        network: images in [0, 1] to logits; it and its generators are left unchanged.
        images: ``(N, 3, H, W)`` in [0, 1], in multiples of 1/255, where the network is; the first
            64 are looked at.
        labels: true classes, int64 ``(N,)``.
        generator: draws directions; by default one that always draws the same.
        classes: how many classes are expected; by default more than the largest label.

    Returns:
        Findings in the order of the checks, which end at one that leaves nothing else to check.

    Raises:
        UserError: images or labels are not what is described above.
    """
    _check_arguments(images, labels)
    images, labels = images[:COUNTED].detach(), labels[:COUNTED]
    generator = compute.generator(0, "checkup") if generator is None else generator
    findings = [_mode(network)]
    if findings[-1].level == "failed":  # every pass would change the network
        return findings
    output, unwrapped = _output(network, images[:2])
    findings.append(output)
    if unwrapped is None:
        return findings
    findings.append(_shape(unwrapped, images, labels, classes))
    if findings[-1].level == "failed":
        return findings
    logits = _predict(unwrapped, images)
    findings.append(_finite(logits))
    if findings[-1].level == "failed":
        return findings
    few = images[:COMPARED]
    findings += [_logits(logits), _input(unwrapped, few), _same_answer(unwrapped, few)]
    findings += [_batch(unwrapped, few), _inner(unwrapped, images[:2])]
    findings += [_accuracy(logits, labels), _scale(unwrapped, images, labels, logits)]
    return findings + _gradient(probe(unwrapped, images[:PROBED], generator))


def _check_arguments(images: Tensor, labels: Tensor) -> None:
    if not images.is_floating_point():
        raise UserError(
            f"checkup: images are {images.dtype}, expected floats. Convert 8-bit images with "
            "advrob.images.pixels.to_tensor."
        )
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise UserError(
            f"checkup: images are of shape {tuple(images.shape)}, expected (N, 3, H, W), N at "
            "least 1: RGB, channels first."
        )
    if images.min() < 0 or images.max() > 1:
        raise UserError(
            f"checkup: images have values from {images.min():.3g} to {images.max():.3g}, expected "
            "0 to 1. Give plain RGB images; normalise them inside the network."
        )
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise UserError(
            f"checkup: labels are {labels.dtype} of shape {tuple(labels.shape)}, expected int64 "
            f"of shape ({len(images)},), a class for each image."
        )


class Unwrapped(nn.Module):
    """A network whose logits are taken out of what it returns."""

    def __init__(self, network: nn.Module, take: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.take = take

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)``."""
        return self.take(self.network(images))


# What networks of other libraries return: its text in advice, a test for it, and its logits.
WRAPPED: tuple[tuple[str, Callable[[Any], bool], Callable[[Any], Tensor]], ...] = (
    (
        ".logits",
        lambda answer: isinstance(_attribute(answer), Tensor),
        lambda answer: answer.logits,
    ),
    (
        "['logits']",
        lambda answer: isinstance(answer, dict) and isinstance(answer.get("logits"), Tensor),
        lambda answer: answer["logits"],
    ),
    (
        "[0]",
        lambda answer: isinstance(answer, tuple | list) and isinstance(answer[0], Tensor),
        lambda answer: answer[0],
    ),
)


def _attribute(answer: Any) -> Any:
    return getattr(answer, "logits", None)


def _output(network: nn.Module, images: Tensor) -> tuple[Finding, nn.Module | None]:
    """What the network returns, and the network as one that returns logits."""
    expected = "a float32 tensor (N, classes)"
    try:
        with torch.no_grad():
            answer = network(images.clone())
    except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        advice = (
            f"The network takes no float images {tuple(images.shape)} in [0, 1]: put resizing and "
            "normalisation into the network, and both on one device."
        )
        return Finding("output", "failed", f"an error: {line}", expected, advice), None
    unwrapped, level, observed, advice = network, "passed", "a tensor", ""
    for text, is_it, take in WRAPPED:
        if is_it(answer):
            unwrapped, level = Unwrapped(network, take), "warning"
            observed = f"an object of type {type(answer).__name__}"
            advice = f"Attacks need the logits alone: wrap the network to return output{text}."
            answer = take(answer)
            break
    if not isinstance(answer, Tensor):
        advice = "Wrap the network in a module that returns its logits alone."
        observed = f"an object of type {type(answer).__name__}"
        return Finding("output", "failed", observed, expected, advice), None
    if answer.dtype != torch.float32 and level == "passed":
        level, observed = "warning", f"a tensor of {answer.dtype}"
        advice = "Return logits in float32: coarser numbers round small margins to 0."
    return Finding("output", level, observed, expected, advice), unwrapped  # type: ignore[arg-type]


def _mode(network: nn.Module) -> Finding:
    names = [
        name or "the network"
        for name, module in network.named_modules()
        if module.training
        and isinstance(module, nn.modules.dropout._DropoutNd | nn.modules.batchnorm._NormBase)
    ]
    expected = "no dropout or normalisation in training mode"
    if not names:
        return Finding("evaluation mode", "passed", "evaluation mode", expected)
    advice = "Call network.eval() before the evaluation: it would score another network."
    observed = f"{len(names)} layers in training mode, {names[0]} first"
    return Finding("evaluation mode", "failed", observed, expected, advice)


def _shape(network: nn.Module, images: Tensor, labels: Tensor, classes: int | None) -> Finding:
    with torch.no_grad():
        shape = tuple(network(images[:2].clone()).shape)
    least = int(labels.max()) + 1
    expected = f"({len(images[:2])}, {f'{least} or more' if classes is None else classes})"
    fits = len(shape) == 2 and shape[0] == len(images[:2]) and shape[1] >= max(least, 2)
    if fits and classes in (None, shape[1]):
        return Finding("classes", "passed", f"{shape[1]} classes", expected)
    advice = (
        "Return one logit for each class, averaged over positions, and give labels that number "
        "these classes from 0."
    )
    return Finding("classes", "failed", f"logits of shape {shape}", expected, advice)


@torch.no_grad()
def _predict(network: nn.Module, images: Tensor) -> Tensor:
    """Logits ``(N, classes)``, some images at a time."""
    return torch.cat([network(part.clone()) for part in images.split(BATCH)]).float()


def _finite(logits: Tensor) -> Finding:
    wrong = int((~logits.isfinite()).any(dim=1).sum())
    if not wrong:
        return Finding("finite", "passed", "finite logits", "finite logits")
    observed = f"infinite or undefined logits for {wrong} of {len(logits)} images"
    advice = "Look for a division by 0 or a logarithm of 0, or for weights that are not finite."
    return Finding("finite", "failed", observed, "finite logits", advice)


def _logits(logits: Tensor) -> Finding:
    sums = logits.double().sum(dim=1)
    inside = bool((logits >= 0).all() and (logits <= 1).all())
    if not inside or (sums - 1).abs().max() > SUM:
        return Finding("logits", "passed", "logits", "logits, not probabilities")
    advice = (
        "Return the logits before the softmax: a second softmax flattens the losses that attacks "
        "climb."
    )
    observed = "rows in [0, 1] that sum to 1: probabilities"
    return Finding("logits", "warning", observed, "logits, not probabilities", advice)


def _input(network: nn.Module, images: Tensor) -> Finding:
    copies = images.clone()
    with torch.no_grad():
        network(copies)
    if torch.equal(copies, images):
        return Finding("input", "passed", "images as they were", "images left as they were")
    advice = "Do not write into the input: replace x -= mean by x = x - mean."
    return Finding("input", "failed", "changed images", "images left as they were", advice)


def _differ(first: Tensor, second: Tensor) -> float:
    """The largest difference of logits, as a share of what is between the five highest."""
    # Not of all classes: those that a network does not know may be ten thousand below.
    highest = first.topk(min(5, first.shape[1]), dim=1).values
    spread = (highest[:, 0] - highest[:, -1]).median().clamp(min=1e-30)
    return ((first - second).abs().max() / spread).item()


def _same_answer(network: nn.Module, images: Tensor) -> Finding:
    difference = _differ(_predict(network, images), _predict(network, images))
    expected = "the same logits twice"
    if difference <= SAME:
        return Finding("same answer", "passed", expected, expected)
    observed = (
        f"logits that differ by {difference:.0%} of what is between the highest from pass to pass"
    )
    if any(getattr(module, "stochastic", False) is True for module in network.modules()):
        advice = "It says so: attack and score its mean prediction over several draws."
        return Finding("same answer", "note", observed, expected, advice)
    advice = (
        "The network draws random numbers and does not say so: attack its expectation over several "
        "draws (set stochastic = True on the defence, or advrob.attacks.expectation.Expectation)."
    )
    return Finding("same answer", "warning", observed, expected, advice)


def _batch(network: nn.Module, images: Tensor) -> Finding:
    expected = "logits that do not depend on the other images of a batch"
    with same_draws(network) as forward, torch.no_grad():
        together, again = forward(images.clone()), forward(images.clone())
        # Which random numbers an image gets may depend on its position, so each keeps its own.
        others = torch.cat([images[:1], 1 - images[1:]])
        mixed = forward(others)
    if _differ(together, again) > SAME:
        advice = "Its random numbers cannot be held fixed, so this was not tested."
        return Finding("batch", "note", "not tested", expected, advice)
    difference = _differ(together[:1], mixed[:1])
    if difference <= SAME:
        return Finding("batch", "passed", "images on their own", expected)
    observed = (
        f"logits that differ by {difference:.0%} of what is between the highest in another batch"
    )
    advice = (
        "Remove what images of a batch share (statistics of the batch, a common scale): an attack "
        "on one image would move the others."
    )
    return Finding("batch", "failed", observed, expected, advice)


class _Watch(TorchFunctionMode):
    """Notices whether gradients are switched on while they should be off."""

    seen = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        self.seen = self.seen or torch.is_grad_enabled()
        return func(*args, **(kwargs or {}))


def _inner(network: nn.Module, images: Tensor) -> Finding:
    """Whether a pass takes gradients, or runs its layers again and again."""
    calls: Counter[str] = Counter()
    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: calls.update([name]))
        for name, module in network.named_modules()
        if not any(module.children()) and next(module.parameters(recurse=False), None) is not None
    ]
    try:
        with torch.no_grad(), _Watch() as watch:
            network(images.clone())
    finally:
        for hook in hooks:
            hook.remove()
    expected = "one pass through the layers, without gradients"
    if watch.seen:
        advice = (
            "The network seems to optimise something before it answers: differentiate through the "
            "steps, or attack it by transfer from the network inside and without gradients."
        )
        return Finding("inner optimisation", "warning", "gradients in a pass", expected, advice)
    most = max(calls.values(), default=0)
    if most >= REPEATED:
        advice = "If it repeats passes to optimise its input, attack the network inside as well."
        observed = f"the same layer run {most} times in a pass"
        return Finding("inner optimisation", "note", observed, expected, advice)
    return Finding("inner optimisation", "passed", expected, expected)


def _accuracy(logits: Tensor, labels: Tensor) -> Finding:
    n, classes = logits.shape
    predicted = logits.argmax(dim=1)

    def beats_chance(shift: int) -> tuple[int, bool]:
        correct = int((predicted == labels + shift).sum())
        return correct, bool(stats.binom.sf(correct - 1, n, 1 / classes) < LEVEL)

    correct, better = beats_chance(0)
    expected = f"more right than by chance among {classes} classes"
    observed = f"{correct} of {n} images recognised"
    for shift in (-1, 1):
        shifted, plausible = beats_chance(shift)
        if plausible and shifted > correct:
            observed += f", {shifted} if labels are shifted by {shift:+d}"
            advice = (
                f"The classes are shifted by {shift:+d} against the labels, as with a class for "
                "the background: correct the order of the logits or the labels."
            )
            return Finding("accuracy", "failed", observed, expected, advice)
    if better:
        return Finding("accuracy", "passed", observed, expected)
    advice = (
        "Check the normalisation (range, mean, order of the channels) and the order of the "
        "classes: where nothing is recognised, nothing can be robust."
    )
    return Finding("accuracy", "warning", observed, expected, advice)


def _normalised(images: Tensor) -> Tensor:
    mean = images.new_tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
    return (images - mean) / images.new_tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)


# What a network may have been trained on instead.
SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "levels from 0 to 255": lambda images: images * 255,
    "numbers from -1 to 1": lambda images: images * 2 - 1,
    "ImageNet's mean and deviation": _normalised,
    "channels in the order BGR": lambda images: images.flip(1),
}


def _scale(network: nn.Module, images: Tensor, labels: Tensor, logits: Tensor) -> Finding:
    """Whether another normalisation of the input serves the network better."""
    images, labels, logits = images[:SCALED], labels[:SCALED], logits[:SCALED]
    own = logits.argmax(dim=1) == labels
    expected = "the normalisation that it was trained with"
    better = {}
    for name, scale in SCALES.items():
        other = _predict(network, scale(images)).argmax(dim=1) == labels
        gained, lost = int((other & ~own).sum()), int((own & ~other).sum())
        if stats.binom.sf(gained - 1, gained + lost, 0.5) < LEVEL / len(SCALES):
            better[name] = int(other.sum())
    if not better:
        return Finding("normalisation", "passed", "no other one that serves better", expected)
    best = max(better, key=better.__getitem__)
    observed = (
        f"{better[best]} of {len(own)} images recognised with {best}, {int(own.sum())} without"
    )
    advice = f"The network seems to expect {best}: put that into it, in front of the layers."
    return Finding("normalisation", "warning", observed, expected, advice)


# What each kind of gradient is called: level, what was found, what to do.
GRADIENTS: dict[str, tuple[Level, str, str]] = {
    "exact": ("passed", "the derivative of the forward pass", ""),
    "straight-through": (
        "note",
        "an approximation that leads the right way",
        "Attacks follow an approximation: check them by one that needs no gradient.",
    ),
    "masked": (
        "failed",
        "a gradient that is not that of the forward pass",
        "The backward pass hides what the forward pass does: attack without gradients, by "
        "transfer, or with a backward pass of your own.",
    ),
    "disconnected": (
        "failed",
        "no gradient from the logits to the image",
        "Remove detach(), no_grad and conversions to NumPy, or pass a straight-through gradient "
        "(advrob.defences.straight_through).",
    ),
    "not finite": (
        "failed",
        "an infinite or undefined gradient",
        "Look for square roots and norms at 0 and divisions by 0 in the backward pass.",
    ),
    "vanishing": (
        "failed",
        "a gradient of 0",
        "Something is flat: give rounding, thresholds and decisions a straight-through gradient, "
        "and return logits, not decisions.",
    ),
    "unknown": (
        "warning",
        "not tested",
        "The random numbers cannot be held fixed: draw them from a torch.Generator.",
    ),
}


def _gradient(probed: Probe) -> list[Finding]:
    level, observed, advice = GRADIENTS[probed.kind]
    if math.isfinite(probed.usefulness):
        short = (
            f"it misses {probed.missed:.0%} of what short random steps change"
            if math.isfinite(probed.missed)
            else "short random steps change nothing"
        )
        observed += (
            f" ({short}; a step along it changes {probed.usefulness:.3g} times as much as a random "
            "one)"
        )
    findings = [
        Finding("gradient", level, observed, "the derivative of the forward pass, not 0", advice)
    ]
    if not math.isnan(probed.silent):
        expected = "a gradient of the cross-entropy"
        if probed.silent <= 0.5:
            findings.append(Finding("cross-entropy", "passed", expected, expected))
        else:
            observed = f"none for {probed.silent:.0%} of the images: their logits are far apart"
            advice = "Attack the margin or the ratio of logits, or divide the logits."
            findings.append(Finding("cross-entropy", "warning", observed, expected, advice))
    return findings
