"""One call for a notebook: how robust is my network, and how far can that be believed?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from advrob.attacks.auto_attack import AutoAttack
from advrob.attacks.control import CONTROLS, controlled
from advrob.attacks.expectation import Expectation
from advrob.errors import UserError
from advrob.evaluation.checkup import Finding, checkup
from advrob.findings import metrics
from advrob.findings.checks import Check, Verdict, as_finding_check, grade, stronger
from advrob.images.pixels import quantise, to_tensor, to_uint8
from advrob.job import compute
from advrob.models.prediction import decided

# By how much another class's logit must exceed the label's: another draw may take less back.
SURPLUS = 0.5


@dataclass(frozen=True)
class Robustness:
    """How robust a network is, and what that is worth.

    Attributes:
        original: accuracy on the images as they are.
        worst: accuracy under the worst attack within the radius, with its interval.
        robust: whether an image is right and no attack broke it, bool ``(N,)``.
        attacked: what the attacks made of the images, ``(N, 3, H, W)`` in [0, 1], in 8 bits.
        checks: of the network and of the attacks.
        grade: A to D; see `advrob.findings.checks.grade`.
    """

    original: metrics.Accuracy
    worst: metrics.Accuracy
    robust: np.ndarray
    attacked: Tensor
    checks: Sequence[Check]
    grade: str

    def __str__(self) -> str:
        """The answer, and every check that did not pass, in lines."""
        worst = f"{self.worst.accuracy:.1%} ({self.worst.low:.1%} to {self.worst.high:.1%})"
        lines = [
            f"{self.original.accuracy:.1%} of {self.original.n} images are recognised, {worst} "
            f"under attack; evidence: {self.grade}"
        ]
        lines += [
            f"{check.verdict}: {check.name}: {check.measured}. {check.expected}"
            for check in self.checks
            if check.verdict != Verdict.PASSED
        ]
        return "\n".join(lines)


def evaluate(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    radius: float,
    norm: Literal["linf", "l2"] = "linf",
    iterations: int = 100,
    queries: int = 5000,
    draws: int = 10,
    batch_size: int = 32,
    seed: int = 0,
) -> Robustness:
    """Look a network over, attack it by AutoAttack, and check the attack.

    Args:
        network: images in [0, 1] to logits, in evaluation mode, its normalisation inside.
        images: ``(N, 3, H, W)`` in [0, 1], where the network is; they are rounded to 8 bits.
        labels: true classes, int64 ``(N,)``.
        radius: how far an image may be moved, in units of 1/255.
        norm: ``linf`` or ``l2``.
        iterations: see `AutoAttack`.
        queries: see `AutoAttack`.
        draws: passes over which a network that draws random numbers is averaged; an image counts
            as right if more than half of as many fresh passes are.
        batch_size: images in the network at a time.
        seed: of every random number.

    Raises:
        UserError: images or labels are not as described, or the radius is below one level.
    """
    if not radius >= 1:
        raise UserError(
            f"evaluate: radius is {radius:g}, less than one of the 255 levels of a pixel. Expected "
            f"a number in units of 1/255, probably {round(255 * radius, 2):g}."
        )
    images = quantise(images)
    findings = checkup(network, images, labels)
    checks = [as_finding_check(vars(finding)) for finding in findings]
    passes = draws if _draws(findings) else 1
    averaged = Expectation(network, passes) if passes > 1 else network
    attack = AutoAttack(norm=norm, radius=radius, iterations=iterations, queries=queries)
    original = _correct(network, images, labels, passes, batch_size)
    attacked = images.clone()
    generator = compute.generator(seed, "evaluate", device=images.device)
    for rows in original.nonzero()[:, 0].split(max(1, batch_size // passes)):
        attacked[rows] = attack(
            averaged, images[rows], labels[rows], generator=generator, surplus=SURPLUS
        )
    robust = original & _correct(network, attacked, labels, passes, batch_size)
    ids = [str(number) for number in range(len(images))]
    checks += _controls(network, images, attacked, labels, robust, passes, batch_size, seed)
    worst = metrics.accuracy(robust.cpu().numpy(), ids)
    return Robustness(
        original=metrics.accuracy(original.cpu().numpy(), ids),
        worst=worst,
        robust=robust.cpu().numpy(),
        attacked=attacked,
        checks=checks,
        grade=grade(checks, worst),
    )


def _draws(findings: Sequence[Finding]) -> bool:
    """Whether a network's answer is another one each time."""
    return any(each.name == "same answer" and each.level != "passed" for each in findings)


@torch.no_grad()
def _correct(
    network: nn.Module, images: Tensor, labels: Tensor, passes: int, batch_size: int
) -> Tensor:
    """Whether more than half of the passes are right, bool ``(N,)``."""
    votes = torch.zeros(len(images), device=images.device)
    for _ in range(passes):
        batches = zip(images.split(batch_size), labels.split(batch_size), strict=True)
        votes += torch.cat([decided(network(batch)) == own for batch, own in batches])
    return votes > passes / 2


def _controls(
    network: nn.Module,
    images: Tensor,
    attacked: Tensor,
    labels: Tensor,
    robust: Tensor,
    passes: int,
    batch_size: int,
    seed: int,
) -> list[Check]:
    """Whether the attack costs more than random changes of the same size."""
    before, after = to_uint8(images), to_uint8(attacked)
    ids = [str(number) for number in range(len(images))]
    checks = []
    for name, control in CONTROLS.items():
        draw = np.random.default_rng(compute.number(seed, "evaluate", name))
        changed = to_tensor(controlled(before, after, control, draw), images.device)
        still_correct = _correct(network, changed, labels, passes, batch_size)
        arrays = (still_correct.cpu().numpy(), robust.cpu().numpy())
        checks.append(stronger(f"beats {name}", "auto_attack", *arrays, ids))
    return checks
