"""A search among backward passes, for networks that may hide their gradient."""

import math
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from advrob.attacks import Attack
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

    def __call__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        generator: torch.Generator,
        surplus: float = 0.0,
    ) -> Tensor:
        """See `Attack`: where no image fooled the network, the one with the highest margin."""
        best = Best(network, images, labels)
        if len(images) and not isinstance(network, Expectation):
            spread = best.spread()
            if spread > SAME * best.value.abs().max():
                network = Expectation(network, DRAWS)
                best = Best(network, images, labels, DRAWS)
                # What a mean of so many draws may be off by, twice the standard error.
                surplus += 2 * spread / (2 * DRAWS) ** 0.5
        given: dict[str, Any] = {"generator": generator, "surplus": surplus}
        if len(best.holding(surplus)) == 0:
            return best.found
        if has_gradient(network, images[:1]):
            plain = AutoPGD(norm=self.norm, radius=self.radius, iterations=self.iterations)
            for part in best.parts(torch.arange(len(images))):
                best.take(part, plain(network, images[part], labels[part], **given))
        rows = best.holding(surplus)
        if len(rows):
            chosen = self.strongest(network, best, rows, **given)
            shown = chosen.fitted(self.ball(images[rows]))
            self.climb(chosen, shown, best, rows, self.iterations, **given)
        return best.found

    def ball(self, images: Tensor) -> Ball:
        """How far images may be moved."""
        return Ball(images, self.norm, self.radius)

    def strongest(
        self,
        network: nn.Module,
        best: "Best",
        rows: Tensor,
        *,
        generator: torch.Generator,
        surplus: float,
    ) -> BackwardPass:
        """The backward pass that fools most images, then raises the margin most.

        Where several do as much, the one that knows least: that nothing helps speaks for a gradient
        that is hidden.

        Args:
            network: images in [0, 1] to logits.
            best: takes what is found meanwhile.
            rows: images that hold, int64 ``(n,)``; some of them are tried.
            generator: the source of every random number.
            surplus: when an image counts as fooled.
        """
        order = torch.randperm(len(rows), generator=generator, device=generator.device)
        rows = rows[order[:TRIED].to(rows.device)]
        ball = self.ball(best.images[rows])
        passes = backward_passes(network, ball.originals, queries=self.queries, generator=generator)
        shown = {each: each.fitted(ball) for each in passes}
        left = [each for each in passes if has_gradient(shown[each], ball.originals[:1])]
        rounds = math.ceil(math.log2(len(left)))
        for number in range(rounds, 0, -1):
            effort = max(self.iterations // 2**number, 1)
            scores = {}
            for each in left:
                reached = self.climb(
                    *(each, shown[each], best, rows, effort), generator=generator, surplus=surplus
                )
                scores[each] = (int((reached > surplus).sum()), float(reached.mean()))
            left = sorted(left, key=scores.__getitem__, reverse=True)[: math.ceil(len(left) / 2)]
            print(_told(scores, len(rows), effort))
            if scores[left[0]][0] == len(rows):  # no more can be seen on these
                break
        return left[0]

    def climb(
        self,
        chosen: BackwardPass,
        shown: nn.Module,
        best: "Best",
        rows: Tensor,
        iterations: int,
        *,
        generator: torch.Generator,
        surplus: float,
    ) -> Tensor:
        """Auto-PGD on the margin; what is found goes into ``best``, the margins reached back."""
        reached = []
        for part in best.parts(rows, chosen.passes):
            tried = climb(
                shown,
                self.ball(best.images[part]),
                best.labels[part],
                lambda _, logits, labels: margin(logits, labels),
                iterations=iterations,
                generator=generator,
                surplus=math.inf if chosen.blind else surplus,
            )
            reached.append(best.take(part, tried))
        return torch.cat(reached)


class Best:
    """Of every image what raised the margin most, perhaps itself.

    Args:
        network: images in [0, 1] to logits.
        images: ``(N, 3, H, W)``.
        labels: int64 ``(N,)``.
        share: in how many parts images are given to the network, which may multiply them.
    """

    def __init__(self, network: nn.Module, images: Tensor, labels: Tensor, share: int = 1) -> None:
        self.network, self.images, self.labels, self.share = network, images, labels, share
        self.found = images.clone()
        self.value = self.margin(images, labels)

    def parts(self, rows: Tensor, passes: int = 1) -> tuple[Tensor, ...]:
        """Numbers of images, int64 ``(n,)``, in parts, by so many times more for more passes."""
        return rows.split(max(math.ceil(len(rows) / (self.share * passes)), 1))

    @torch.no_grad()
    def margin(self, images: Tensor, labels: Tensor) -> Tensor:
        """The `margin` of images in a pass, minus infinity where it is undefined."""
        parts = self.parts(torch.arange(len(images)))
        found = torch.cat([margin(self.network(images[part]), labels[part]) for part in parts])
        return found.nan_to_num(nan=-torch.inf)

    def spread(self) -> float:
        """How far the images' margins in another pass are from those in the first, typically."""
        differences = self.margin(self.images, self.labels) - self.value
        return float(differences.square().mean().sqrt())

    def holding(self, surplus: float) -> Tensor:
        """The numbers of images that do not fool the network yet, int64."""
        return (self.value <= surplus).nonzero()[:, 0]

    def take(self, rows: Tensor, tried: Tensor) -> Tensor:
        """Keep what is better of images tried for some rows; the margins that they reach."""
        rows = rows.to(self.labels.device)
        reached = self.margin(tried, self.labels[rows])
        better = reached > self.value[rows]
        self.found[rows[better]] = tried[better]
        self.value[rows[better]] = reached[better]
        return reached


def _told(scores: dict[BackwardPass, tuple[int, float]], images: int, iterations: int) -> str:
    """A line for the log."""
    parts = [
        f"{each.name} fools {fooled}, mean margin {mean:.3g}"
        for each, (fooled, mean) in sorted(scores.items(), key=lambda item: item[1], reverse=True)
    ]
    return f"backward passes, {iterations} iterations on {images} images: {'; '.join(parts)}"
