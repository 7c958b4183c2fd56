"""Backward passes to try on a network that may hide its gradient.

Replacing a step's backward pass by the identity, or by that of an approximation, and averaging over
draws are due to Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security"
(2018): BPDA and EOT.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from advrob.attacks.bounds import Ball
from advrob.attacks.expectation import Expectation
from advrob.networks import Network

# How many times as many draws are tried on a network that draws.
MORE = 4
# Levels by which images are changed to learn from decisions: most of a pixel's range, since nearer
# ones are the same for nearly all images.
WIDE = 128
# Side of the convolution that is fitted to a defence.
KERNEL = 7
# Functions of PyTorch, also as methods, in place or not, that flatten a gradient or cut it off.
FLAT = {"round", "floor", "ceil", "trunc", "fix", "sign", "clamp", "clip", "detach"}
# Methods that leave PyTorch, which refuses them where a gradient leads back.
LEAVES = {"numpy", "__array__"}

# From images (n, 3, H, W) to as many images, or to logits (n, classes).
Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class BackwardPass:
    """A way to get a gradient.

    Attributes:
        name: in words.
        fitted: from the images to attack, and how far, to what is climbed.
        blind: whether what is climbed has logits of its own, and not the network's.
        passes: how many times as many passes as the network's own it makes.
    """

    name: str
    fitted: Callable[[Ball], nn.Module]
    blind: bool = False
    passes: int = 1


class Climbed(nn.Module):
    """What an attack climbs: logits by a function of images."""

    def __init__(self, logits: Map) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, 3, H, W)``."""
        return self.logits(images)


def backward_passes(
    network: nn.Module, images: Tensor, *, queries: int, generator: torch.Generator
) -> list[BackwardPass]:
    """What can be tried on a network; those that know least of it come first.

    Args:
        network: images in [0, 1] to logits. Defence and model are told apart in a `Network`, and
            in one behind an `Expectation`.
        images: ``(N, 3, H, W)``, to see whether the defence changes any.
        queries: see `answers_nearby`.
        generator: the source of every random number.
    """
    inner, draws = network, 1
    if isinstance(network, Expectation):
        inner, draws = network.network, network.draws

    # Single draws are fitted: a fit averages by itself.
    def nearby(ball: Ball) -> nn.Module:
        slopes, _ = answers_nearby(inner, ball, _amplitude(ball), queries, generator)
        return Climbed(lambda images: with_gradient(network(images), slopes(images)))

    def far(ball: Ball) -> nn.Module:
        slopes, middle = answers_nearby(inner, ball, WIDE, queries, generator)
        return Climbed(lambda images: slopes(images) + middle(images))

    def through(images: Tensor) -> Tensor:
        with _ThroughSteps():
            return network(images)

    candidates = [
        BackwardPass("surrogate of decisions", far, blind=True),
        BackwardPass("surrogate of the network", nearby),
    ]
    if isinstance(inner, Network) and not torch.equal(inner.defended(images), images):
        candidates += _around(network, inner, draws, generator)
    candidates.append(BackwardPass("straight through rounding", lambda _: Climbed(through)))
    if draws > 1:
        more = Expectation(inner, MORE * draws)
        candidates.append(BackwardPass(f"{MORE * draws} draws", lambda _: more, passes=MORE))
    return [*candidates, BackwardPass("exact", lambda _: network)]


def _around(
    network: nn.Module, inner: Network, draws: int, generator: torch.Generator
) -> Iterator[BackwardPass]:
    """Those that go around a defence."""
    alone = inner.undefended()

    def instead(backward: Map) -> nn.Module:
        rerouted = inner.rerouted(backward)
        return Expectation(rerouted, draws) if draws > 1 else rerouted

    def fitted(ball: Ball) -> nn.Module:
        return instead(convolution(inner.defended, ball, generator))

    def without(images: Tensor) -> Tensor:
        return with_gradient(network(images), alone(images))

    yield BackwardPass("transfer from the model", lambda _: alone, blind=True)
    yield BackwardPass("surrogate of the defence", fitted)
    yield BackwardPass("without the defence", lambda _: Climbed(without))
    yield BackwardPass("straight through the defence", lambda _: instead(lambda images: images))


def with_gradient(value: Tensor, through: Tensor) -> Tensor:
    """``value``, with the gradient of ``through``; what is added is 0."""
    return value.detach() + (through - through.detach())


class _ThroughSteps(TorchFunctionMode):
    """Gives the functions of `FLAT` the backward pass of the identity, wherever they are called."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """What the function gives."""
        name, kwargs = getattr(function, "__name__", ""), kwargs or {}
        if name in LEAVES:
            return function(args[0].detach(), *args[1:], **kwargs)
        if name.rstrip("_") not in FLAT or not args or not torch.is_grad_enabled():
            return function(*args, **kwargs)
        original = args[0]
        with torch.no_grad():
            value = function(original.clone(), *args[1:], **kwargs)
        if value.shape != original.shape or not value.is_floating_point():
            return function(*args, **kwargs)
        linked = with_gradient(value, original)
        return original.copy_(linked) if name.endswith("_") else linked


def has_gradient(network: nn.Module, image: Tensor) -> bool:
    """Whether anything leads back from a network's logits to an image ``(1, 3, H, W)``.

    A backward pass that fails leads nowhere.
    """
    probed = image.detach().clone().requires_grad_()
    with torch.enable_grad():
        try:
            total = network(probed).sum()
            if not total.requires_grad:
                return False
            (gradient,) = torch.autograd.grad(total, probed, allow_unused=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            return False
    return gradient is not None


def _amplitude(ball: Ball) -> int:
    """By how many levels all pixels may change within a ball, at least one."""
    if ball.norm == "linf":
        return max(int(ball.radius), 1)
    return max(round(ball.radius / ball.originals[0].numel() ** 0.5), 1)


@torch.no_grad()
def answers_nearby(
    network: nn.Module, ball: Ball, amplitude: int, queries: int, generator: torch.Generator
) -> tuple[Map, Map]:
    """A linear surrogate of a network around each image, fitted to its answers.

    The image is divided into tiles, each of which is made brighter or darker in each channel by
    as many levels, after the columns of a Hadamard matrix: a weighing design, whose least squares
    are a product (Plackett and Burman 1946). Images that are asked about have 8 bits. Tiles are
    the prior of Ilyas et al. (2019), "Prior convictions".

    Args:
        network: images in [0, 1] to logits.
        ball: the images.
        amplitude: of the changes, in levels.
        queries: how often the network may be asked about an image, at least 4: four times the
            number of tiles are needed, and tiles are as small as that allows.
        generator: draws which tiles change together.

    Returns:
        From images near to those of the ball, in any order, to what the surrogate adds, and to what
        it is at the images themselves, both ``(n, classes)``.
    """
    originals = ball.originals
    grid = 1
    while 16 * grid**2 <= queries and 2 * grid <= min(originals.shape[-2:]):
        grid *= 2
    asked, unknowns = 4 * grid**2, 3 * grid**2
    order = torch.randperm(asked - 1, generator=generator, device=generator.device)[:unknowns]
    signs = torch.randint(2, (unknowns,), generator=generator, device=generator.device) * 2 - 1
    design = (_hadamard(asked)[:, order.cpu() + 1] * signs.cpu()).to(originals)
    tiles = F.interpolate(design.view(-1, 3, grid, grid), originals.shape[-2:]) * (amplitude / 255)
    answers = torch.stack([network((originals + each).clamp(0, 1)) for each in tiles])
    middle = answers.mean(dim=0)
    slopes = torch.einsum("qt, qnc -> ntc", design, answers) * (255 / amplitude / asked)

    def means(images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images, grid).flatten(1)

    centres = means(originals)

    def own(images: Tensor) -> Tensor:
        """Their numbers: an image is nearest to its original."""
        return torch.cdist(means(images.detach()), centres).argmin(dim=1)

    def added(images: Tensor) -> Tensor:
        rows = own(images)
        return ((means(images) - centres[rows])[:, None] @ slopes[rows])[:, 0]

    return added, lambda images: middle[own(images)]


def _hadamard(size: int) -> Tensor:
    """Sylvester's matrix of signs with orthogonal columns, the first of them all 1."""
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix


@torch.no_grad()
def convolution(defended: Map, ball: Ball, generator: torch.Generator) -> Map:
    """A convolution that is fitted to a defence's input and output.

    By least squares: from random signs, as many levels in size as the ball allows everywhere, to
    the change that they make behind the defence, the mean over draws where it draws.

    Args:
        defended: images ``(N, 3, H, W)`` to as many.
        ball: the images.
        generator: the source of every random number.

    Returns:
        From images ``(n, 3, H, W)`` to as many, differentiable. Only the gradient is the defence's.
    """
    originals = ball.originals
    signs = torch.randint(2, originals.shape, generator=generator, device=generator.device)
    changed = originals + (signs.to(originals) * 2 - 1) * (_amplitude(ball) / 255)
    changes = changed.clamp_(0, 1) - originals
    effects = defended(originals + changes) - defended(originals)
    values = 3 * KERNEL**2
    squares, products = (originals.new_zeros(values, n, dtype=torch.float64) for n in (values, 3))
    for change, effect in zip(changes, effects, strict=True):
        patches = F.unfold(change[None], KERNEL, padding=KERNEL // 2)[0]
        squares += patches @ patches.T
        products += patches @ effect.flatten(1).T
    # Where nothing can change, black and white images for one, nothing is learned.
    squares += 1e-6 * squares.trace() * torch.eye(values).to(squares)
    weights = torch.linalg.solve(squares, products).T.reshape(3, 3, KERNEL, KERNEL)
    return lambda images: F.conv2d(images, weights.to(images), padding="same")
