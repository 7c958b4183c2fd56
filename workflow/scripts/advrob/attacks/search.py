"""A search among backward passes, for networks that may hide their gradient."""

import math
from dataclasses import replace
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from advrob.attacks import Attack, Task
from advrob.attacks.apgd import AutoPGD, climb
from advrob.attacks.backward import BackwardPass, backward_passes, has_gradient
from advrob.attacks.bounds import Ball
from advrob.attacks.expectation import Expectation
from advrob.attacks.losses import margin

# Images on which backward passes are compared.
TRIED = 8
# Draws over which a network is averaged that draws and does not say so, and how far two passes over
# an image are apart then, as a share of the largest margin.
DRAWS, SAME = 16, 1e-3


class BackwardSearch(Attack):
    """Search: Auto-PGD, then Auto-PGD by whichever backward pass leads furthest.

    What Auto-PGD on the cross-entropy leaves is attacked on the margin. Several backward passes
    (`advrob.attacks.backward`) are compared on a few images by successive halving (Jamieson and
    Talwalkar 2016), and the strongest attacks all. That a program can look for such an attack was
    shown by Yao et al., "Automated discovery of adaptive attacks on adversarial defenses" (2021).
    Where passes differ and nothing says so, their mean is attacked.

    Args:
        norm: the norm that is bounded.
        radius: the bound, in units of 1/255.
        iterations: gradients per image of Auto-PGD, and again with the strongest backward pass.
        queries: how often the network is asked about an image to fit each linear surrogate.
    """

    def __init__(
        self,
        *,
        norm: Literal["linf", "l2"],
        radius: Annotated[float, {"exclusiveMinimum": 0, "levels": True}],
        iterations: Annotated[int, {"minimum": 1}] = 100,
        queries: Annotated[int, {"minimum": 4}] = 256,
    ) -> None:
        self.norm, self.radius = norm, radius
        self.iterations, self.queries = iterations, queries

    def perturb(self, task: Task) -> Tensor:
        """See `Attack`: where no image fooled the network, the one with the highest margin."""
        best = Best(task)
        if len(task.images) and not isinstance(task.network, Expectation):
            spread = best.spread()
            if spread > SAME * best.margins.abs().max():
                # What a mean of so many draws may be off by, twice the standard error.
                surplus = task.surplus + 2 * spread / (2 * DRAWS) ** 0.5
                task = replace(task, network=Expectation(task.network, DRAWS), surplus=surplus)
                best = Best(task, DRAWS)
        if len(best.holding()) == 0:
            return best.adversarial
        if has_gradient(task.network, task.images[:1]):
            plain = AutoPGD(norm=self.norm, radius=self.radius, iterations=self.iterations)
            for part in best.parts(torch.arange(len(task.images))):
                best.take(part, plain.perturb(task[part]))
        rows = best.holding()
        if len(rows):
            strongest = self.strongest(best, rows)
            differentiable = strongest.fitted(self.ball(task.images[rows]))
            self.climb(strongest, differentiable, best, rows, self.iterations)
        return best.adversarial

    def ball(self, images: Tensor) -> Ball:
        """How far images may be moved."""
        return Ball(images, self.norm, self.radius)

    def strongest(self, best: "Best", rows: Tensor) -> BackwardPass:
        """The backward pass that fools most images, then raises the margin most.

        Where several do as much, the one that knows least: that nothing helps speaks for a gradient
        that is hidden.

        Args:
            best: the task; takes adversarial images that are found meanwhile.
            rows: images that hold, int64 ``(n,)``; some of them are tried.
        """
        task, generator = best.task, best.task.generator
        order = torch.randperm(len(rows), generator=generator, device=generator.device)
        rows = rows[order[:TRIED].to(rows.device)]
        ball = self.ball(task.images[rows])
        passes = backward_passes(
            task.network, ball.originals, queries=self.queries, generator=generator
        )
        networks = {each: each.fitted(ball) for each in passes}
        left = [each for each in passes if has_gradient(networks[each], ball.originals[:1])]
        rounds = math.ceil(math.log2(len(left)))
        for number in range(rounds, 0, -1):
            effort = max(self.iterations // 2**number, 1)
            scores = {}
            for each in left:
                reached = self.climb(each, networks[each], best, rows, effort)
                scores[each] = (int((reached > task.surplus).sum()), float(reached.mean()))
            left = sorted(left, key=scores.__getitem__, reverse=True)[: math.ceil(len(left) / 2)]
            print(_comparison(scores, len(rows), effort))
            if scores[left[0]][0] == len(rows):  # no more can be seen on these
                break
        return left[0]

    def climb(
        self,
        backward_pass: BackwardPass,
        differentiable: nn.Module,
        best: "Best",
        rows: Tensor,
        iterations: int,
    ) -> Tensor:
        """Auto-PGD on the margin.

        Args:
            backward_pass: the one to climb by.
            differentiable: the network with it.
            best: takes the images that are reached.
            rows: of the images to attack, int64 ``(n,)``.
            iterations: gradients per image.

        Returns:
            The margins that the images reach, ``(n,)``.
        """
        surplus = math.inf if backward_pass.blind else best.task.surplus
        reached = []
        for part in best.parts(rows, backward_pass.passes):
            task = replace(best.task[part], network=differentiable, surplus=surplus)
            tried = climb(
                task,
                self.ball(task.images),
                lambda _, logits, labels: margin(logits, labels),
                iterations=iterations,
            )
            reached.append(best.take(part, tried))
        return torch.cat(reached)


class Best:
    """Of every image what raised the margin most, perhaps itself.

    Args:
        task: the network, N images and their labels.
        share: in how many parts images are given to the network, which may multiply them.

    Attributes:
        adversarial: the images with the highest margins, ``(N, 3, H, W)``.
        margins: their margins, ``(N,)``.
    """

    def __init__(self, task: Task, share: int = 1) -> None:
        self.task, self.share = task, share
        self.adversarial = task.images.clone()
        self.margins = self.margins_of(task)

    def parts(self, rows: Tensor, passes: int = 1) -> tuple[Tensor, ...]:
        """Numbers of images, int64 ``(n,)``, in parts, by so many times more for more passes."""
        return rows.split(max(math.ceil(len(rows) / (self.share * passes)), 1))

    def margins_of(self, task: Task) -> Tensor:
        """The margins of images in a pass, minus infinity where they are undefined."""
        parts = self.parts(torch.arange(len(task.images)))
        margins = torch.cat([task[part].margins() for part in parts])
        return margins.nan_to_num(nan=-torch.inf)

    def spread(self) -> float:
        """How far the images' margins in another pass are from those in the first, typically."""
        differences = self.margins_of(self.task) - self.margins
        return float(differences.square().mean().sqrt())

    def holding(self) -> Tensor:
        """The numbers of images that do not fool the network yet, int64."""
        return (self.margins <= self.task.surplus).nonzero()[:, 0]

    def take(self, rows: Tensor, tried: Tensor) -> Tensor:
        """Take the images tried for some rows that are better; the margins of all of them."""
        rows = rows.to(self.margins.device)
        reached = self.margins_of(replace(self.task[rows], images=tried))
        better = reached > self.margins[rows]
        self.adversarial[rows[better]] = tried[better]
        self.margins[rows[better]] = reached[better]
        return reached


def _comparison(scores: dict[BackwardPass, tuple[int, float]], images: int, iterations: int) -> str:
    """A line for the log."""
    parts = [
        f"{each.name} fools {fooled}, mean margin {mean:.3g}"
        for each, (fooled, mean) in sorted(scores.items(), key=lambda item: item[1], reverse=True)
    ]
    return f"backward passes, {iterations} iterations on {images} images: {'; '.join(parts)}"
