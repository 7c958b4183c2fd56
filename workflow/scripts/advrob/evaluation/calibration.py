"""Attacks measured against known truth: linear networks, whose robustness is known exactly.

An evaluator that finds 0 % everywhere may be perfect or broken. On a linear network the accuracy
within a radius follows from a formula, so what an attack leaves above it is the attack's own
shortcoming: its optimality gap. What it leaves below it would be an error of the evaluator.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advrob.errors import UserError
from advrob.files.rows import Images
from advrob.images.pixels import to_tensor

# The logit of a class that a network does not know: no probability, and finite for attacks.
UNKNOWN = -1e4
# Images that are held in float64 at a time: 10 MB each with what is computed of them.
BLOCK = 16
# By how much an attacked image may leave its ball through rounding: a share of one level.
SLACK = 1e-3
# A network's logits may differ from the affine map's by this share of their size.
AFFINE = 1e-3

# ``attack(network, images, labels, generator=..., surplus=...)``: attacked images, of the same
# shape; network, images and labels are those of `advrob.attacks`.
Attack = Callable[..., Tensor]


class LinearNetwork(nn.Module):
    """Logits that are linear in the means of an image's blocks.

    The image is divided into ``grid x grid`` blocks, which overlap by a pixel where the sides do
    not divide (as in adaptive average pooling), so that images of any size will do. It computes in
    float64 and answers in float32.

    Args:
        weights: ``(K, 3, grid, grid)``, of means in [0, 1].
        bias: ``(K,)``.
        row_classes: the classes of the K rows, int64, ascending; 0 to K - 1 by default.
        classes: how many classes the output has, K by default; those without a row get the logit
            -10,000.
    """

    weights: Tensor
    bias: Tensor
    row_classes: Tensor

    def __init__(
        self,
        weights: Tensor,
        bias: Tensor,
        row_classes: Tensor | None = None,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("weights", weights.double())
        self.register_buffer("bias", bias.double())
        self.register_buffer(
            "row_classes", torch.arange(len(bias)) if row_classes is None else row_classes
        )
        self.classes = len(bias) if classes is None else classes

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)``, float32, of images ``(N, 3, H, W)`` in [0, 1]."""
        with torch.autocast(images.device.type, enabled=False):
            means = block_means(images.double(), self.weights.shape[-1])
            logits = (means.flatten(1) @ self.weights.flatten(1).T + self.bias).float()
        if self.classes == len(self.row_classes):
            return logits
        everything = logits.new_full((len(logits), self.classes), UNKNOWN)
        return everything.index_copy(1, self.row_classes, logits)


def block_means(images: Tensor, grid: int) -> Tensor:
    """Means ``(N, 3, grid, grid)`` of the blocks of images ``(N, 3, H, W)``."""
    # As two products, whose gradient a GPU, too, sums in one order; that of pooling has none.
    rows, columns = (
        _averages(length, grid).to(images.device, images.dtype) for length in images.shape[-2:]
    )
    return rows @ images @ columns.T


@functools.lru_cache
@torch.inference_mode(False)  # what is cached here serves attacks, too
@torch.no_grad()
def _averages(length: int, grid: int) -> Tensor:
    """The matrix ``(grid, length)`` that averages a row of pixels in blocks."""
    return F.adaptive_avg_pool1d(torch.eye(length, dtype=torch.float64), grid).T.contiguous()


def templates(
    images: Images, labels: np.ndarray, *, grid: int = 8, classes: int | None = None
) -> LinearNetwork:
    """A network that predicts the class with the nearest mean image; nothing is trained.

    With the template t of a class the logit of x is ``2 x.t - |t|^2``, which is
    ``|x|^2 - |x - t|^2``; ``|x|^2`` is the same for all classes.

    Args:
        images: 8-bit images ``(N, H, W, 3)``; to evaluate the network on the same ones is fair,
            as what is tested is the attack.
        labels: their classes, int64 ``(N,)``.
        grid: blocks along each side.
        classes: see `LinearNetwork`; by default one more than the largest label.

    Raises:
        UserError: the images are of fewer than two classes, or labels do not fit ``classes``.
    """
    row_classes, total = _classes_of(labels, classes)
    means = _all_means(images, grid)
    own = torch.from_numpy(np.asarray(labels))
    centres = torch.stack([means[own == number].mean(dim=0) for number in row_classes])
    return LinearNetwork(2 * centres, -centres.square().sum(dim=(1, 2, 3)), row_classes, total)


def _classes_of(labels: np.ndarray, classes: int | None) -> tuple[Tensor, int]:
    present = np.unique(labels)
    total = int(present[-1]) + 1 if classes is None else classes
    if len(present) < 2:
        raise UserError(
            f"calibration: all labels are {present[0]}, expected at least two classes. Take images "
            "of more classes."
        )
    if present[0] < 0 or present[-1] >= total:
        raise UserError(
            f"calibration: the labels go from {present[0]} to {present[-1]}, expected 0 to "
            f"{total - 1}. Correct the labels or the number of classes."
        )
    return torch.from_numpy(present.astype(np.int64)), total


def _all_means(images: Images, grid: int) -> Tensor:
    """Block means of 8-bit images, float64, some images at a time."""
    starts = range(0, len(images), BLOCK)
    blocks = (to_tensor(images[start : start + BLOCK]).double() for start in starts)
    return torch.cat([block_means(block, grid) for block in blocks])


@dataclass(frozen=True)
class Affine:
    """A network that is an affine map: logits are weights times image, plus bias.

    Attributes:
        classes: the K classes that can win, int64, ascending.
        weights: ``(K, 3, H, W)`` float64, of images in [0, 1].
        bias: ``(K,)`` float64.
        error: how far the network's own float32 logits were from these, at most.
    """

    classes: Tensor
    weights: Tensor
    bias: Tensor
    error: float

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``(N, K)``, float64, of images ``(N, 3, H, W)`` in [0, 1]."""
        return images.double().flatten(1) @ self.weights.flatten(1).T + self.bias

    def rows(self, labels: np.ndarray) -> Tensor:
        """The rows of ``weights`` that belong to labels, int64 ``(N,)``.

        Raises:
            UserError: a label is none of the classes.
        """
        own = torch.from_numpy(np.asarray(labels, np.int64)).to(self.classes.device)
        if not torch.isin(own, self.classes).all():
            raise UserError(
                f"calibration: there are labels from {own.min()} to {own.max()}, expected only "
                f"{self.classes.tolist()}, the classes that the network knows. Leave out the "
                "images of other classes."
            )
        return torch.searchsorted(self.classes, own)


def affine(network: nn.Module, images: Images, classes: Tensor | None = None) -> Affine:
    """Weights and bias of a network that is affine as a whole, linear defences included.

    The weights are the gradients of the logits, and are compared with the network itself on all
    the images and their negatives.

    Args:
        network: images in [0, 1] to logits, deterministic.
        images: 8-bit images ``(N, H, W, 3)``.
        classes: those that can win, int64, ascending; all that the network answers by default.
            Each costs a backward pass of one image, and memory for one in float64.

    Raises:
        UserError: the network is not affine.
    """
    device = next((values.device for values in network.state_dict().values()), torch.device("cpu"))
    black = torch.zeros_like(to_tensor(images[:1], device), requires_grad=True)
    with torch.enable_grad():
        logits = network(black)[0]
        candidates = (
            torch.arange(len(logits), device=device) if classes is None else classes.to(device)
        )
        values = logits[candidates]
        gradients = [
            torch.autograd.grad(value, black, retain_graph=True)[0].double() for value in values
        ]
    unchecked = Affine(candidates, torch.cat(gradients), values.detach().double(), 0.0)
    error = size = 0.0
    with torch.no_grad():
        for start in range(0, len(images), BLOCK):
            batch = to_tensor(images[start : start + BLOCK], device)
            for seen in (batch, 1 - batch):
                own = network(seen)[:, candidates].double()
                error = max(error, (own - unchecked.logits(seen)).abs().max().item())
                size = max(size, own.abs().max().item())
    if not error <= AFFINE * size:
        raise UserError(
            f"calibration: the network's logits differ by {error:.3g} from those of an affine map, "
            "and the truth is known only for affine maps. Calibrate on a linear network, alone or "
            "behind downsampling or principal components."
        )
    return Affine(unchecked.classes, unchecked.weights, unchecked.bias, error)


def worst_linf(network: Affine, images: Images, labels: np.ndarray, radius: float) -> Tensor:
    """How far each class can exceed the label within an l_inf radius, on 8-bit images.

    With D the difference of the two classes' weights, ``D x`` is largest at the vertex of the ball
    along the sign of D, clipped to what a pixel can be. As the radius is whole, the vertex is an
    8-bit image, so the truth is the same for 8-bit images and for all.

    Args:
        network: of `affine`.
        images: 8-bit images ``(N, H, W, 3)``.
        labels: int64 ``(N,)``, of the network's classes.
        radius: in units of 1/255, whole.

    Returns:
        The largest logit less the label's, float64 ``(N, K)``; minus infinity at the label.

    Raises:
        UserError: the radius is not whole, or a label is not known.
    """
    if radius != int(radius) or radius < 0:
        raise UserError(
            f"calibration: the l_inf radius is {radius}, expected a whole number of levels, such "
            "as 1, 2 or 4: images have 8 bits."
        )
    own, weights = network.rows(labels), network.weights.flatten(1)
    worst = weights.new_empty(len(own), len(weights))
    for row in own.unique():
        # With low <= x <= high, max D x = (D (low + high) + |D| (high - low)) / 2.
        difference = weights - weights[row]
        lengths = difference.abs()
        members = (own == row).nonzero()[:, 0]
        for part in members.split(BLOCK):
            low, high = _pixel_bounds(images, part, radius)
            gains = ((low + high) @ difference.T + (high - low) @ lengths.T) / 2
            worst[part] = gains + (network.bias - network.bias[row])
    return worst.scatter_(1, own[:, None], -torch.inf)


def _pixel_bounds(images: Images, rows: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Bounds ``(n, d)``, float64 in [0, 1], of pixels within a radius."""
    levels = np.concatenate([images[row : row + 1] for row in rows.tolist()])
    values = torch.from_numpy(levels).to(rows.device).permute(0, 3, 1, 2).flatten(1).double()
    return (values - radius).clamp_(min=0) / 255, (values + radius).clamp_(max=255) / 255


def worst_l2(network: Affine, images: Images, labels: np.ndarray, radius: float) -> Tensor:
    """How far each class can exceed the label within an l_2 radius, on real-valued images.

    Away from the box [0, 1] the most that ``D m`` can gain by a move m of length r is ``r |D|``.
    That decides most images: those that hold even so, and those that are fooled by such a move
    which stays in the box. For the others the best move is ``min(t |D|, u)`` along the sign of D,
    with u how far each pixel can move within the box and the t that gives the move length r (the
    Karush-Kuhn-Tucker conditions), which is exact as well. 8-bit images are some of the real-valued
    ones: on them the truth is this or above.

    Args:
        network: of `affine`.
        images: 8-bit images ``(N, H, W, 3)``.
        labels: int64 ``(N,)``, of the network's classes.
        radius: in units of 1/255.

    Returns:
        As `worst_linf`; where the label holds, or another class wins anyway, the value may be that
        without the box, which has the same sign in the largest of a row.
    """
    own, weights = network.rows(labels), network.weights.flatten(1)
    worst = weights.new_empty(len(own), len(weights))
    for row in own.unique():
        difference = weights - weights[row]
        lengths = difference.norm(dim=1)
        members = (own == row).nonzero()[:, 0]
        for part in members.split(BLOCK):
            values, _ = _pixel_bounds(images, part, 0)
            clean = values @ difference.T + (network.bias - network.bias[row])
            free = clean + radius / 255 * lengths
            for number, image, gaps, bounds in zip(part, values, clean, free, strict=True):
                bounds[row] = -torch.inf
                worst[number] = _inside_box(difference, image, gaps, bounds, radius / 255)
    return worst.scatter_(1, own[:, None], -torch.inf)


def _inside_box(
    difference: Tensor, image: Tensor, gaps: Tensor, bounds: Tensor, radius: float
) -> Tensor:
    """One image's largest excesses ``(K,)`` within the box, as far as they decide.

    Args:
        difference: the classes' weights less the label's ``(K, d)``.
        image: ``(d,)`` in [0, 1].
        gaps: the classes' logits less the label's ``(K,)``.
        bounds: the same at most, if there were no box.
        radius: in [0, 1].
    """
    bounds = bounds.clone()
    # The class that seems easiest first: one that wins is enough.
    for index in bounds.argsort(descending=True):
        if bounds[index] < 0:
            break
        row = difference[index]
        move = row * (radius / row.norm())
        if ((image + move).clamp(0, 1) == image + move).all():
            break
        bounds[index] = gaps[index] + _gain(row, image, radius)
        if bounds[index] > 0:
            break
    return bounds


def _gain(row: Tensor, image: Tensor, radius: float) -> Tensor:
    """The most that ``row . move`` can be for a move of length ``radius`` inside the box."""
    slope = row.abs()
    reach = torch.where(row > 0, 1 - image, image)
    # Pixels in the order in which they reach the border as t grows.
    times, order = torch.where(slope > 0, reach / slope, torch.inf).sort()
    slope, reach = slope[order], torch.where(slope > 0, reach, 0.0)[order]
    squares = slope.square()
    stuck = reach.square().cumsum(0)
    free = squares.sum() - squares.cumsum(0)
    lengths = stuck + times.nan_to_num(posinf=0.0).square() * free
    reached = int((lengths < radius**2).sum())  # so many pixels are at the border
    if reached == len(times):
        return (slope * reach).sum()
    before = stuck[reached - 1] if reached else stuck.new_zeros(())
    rest = squares[reached:].sum()
    t = ((radius**2 - before) / rest).sqrt() if rest > 0 else rest
    return (slope[:reached] * reach[:reached]).sum() + t * rest


WORST: dict[str, Callable[[Affine, Images, np.ndarray, float], Tensor]] = {
    "linf": worst_linf,
    "l2": worst_l2,
}


def holds(network: Affine, worst: Tensor, labels: np.ndarray) -> Tensor:
    """Which images nothing within the radius fools, bool ``(N,)``.

    Where two classes are equal, argmax takes the first.

    Args:
        network: of `affine`.
        worst: of a function in `WORST`, ``(N, K)``.
        labels: int64 ``(N,)``.
    """
    own = network.rows(labels)
    earlier = torch.arange(len(network.classes), device=worst.device) < own[:, None]
    return ~((worst > 0) | ((worst == 0) & earlier)).any(dim=1)


def exact(
    network: nn.Module,
    images: Images,
    labels: np.ndarray,
    norm: str,
    radius: float,
    classes: Tensor | None = None,
) -> Tensor:
    """Which images hold within a ball: the truth, box included.

    Within l_inf it is that on 8-bit images, within l_2 that on real-valued ones; see `worst_l2` for
    what the latter says of 8-bit images.

    Args:
        network: images in [0, 1] to logits, affine as a whole.
        images: 8-bit images ``(N, H, W, 3)``.
        labels: int64 ``(N,)``.
        norm: ``linf`` or ``l2``.
        radius: in units of 1/255, whole for ``linf``.
        classes: see `affine`.

    Returns:
        bool ``(N,)``.
    """
    affine_map = affine(network, images, classes)
    return holds(affine_map, WORST[norm](affine_map, images, labels, radius), labels)


@dataclass(frozen=True)
class Record:
    """What one attack found at one radius, beside the truth; accuracies are shares of images.

    Attributes:
        attack: its name, or ``worst case`` for all attacks together.
        norm: ``linf`` or ``l2``.
        radius: in units of 1/255.
        images: how many.
        truth: the accuracy that no attack can go below.
        found: the accuracy that the attack left.
        gap: ``found - truth``, the optimality gap.
        violated: images that were fooled though the truth says they cannot be.
        outside: attacked images that left the ball, and count as not fooled.
        error: why the attack failed, if it did; ``found`` is then the accuracy without it.
    """

    attack: str
    norm: str
    radius: float
    images: int
    truth: float
    found: float
    gap: float
    violated: int
    outside: int
    error: str


WORST_CASE = "worst case"


def calibrate(
    network: nn.Module,
    images: Images,
    labels: np.ndarray,
    attacks: Mapping[str, Callable[[float], Attack]],
    radii: Sequence[float],
    *,
    norm: str,
    generator: torch.Generator,
    honest: nn.Module | None = None,
    classes: Tensor | None = None,
    batch_size: int = 64,
) -> list[Record]:
    """Measure attacks against the truth.

    Args:
        network: what is attacked: a linear network, or a masked twin of it, whose truth is the
            same (see `advrob.evaluation.twins`).
        images: 8-bit images ``(N, H, W, 3)``.
        labels: int64 ``(N,)``.
        attacks: name -> what makes the attack of a radius.
        radii: in units of 1/255.
        norm: of all radii, ``linf`` or ``l2``.
        generator: draws what the attacks draw.
        honest: the linear network that decides which images are fooled, and gives the truth;
            ``network`` itself by default.
        classes: see `affine`.
        batch_size: images attacked at a time.

    Returns:
        By radius: a record for each attack, then one for the worst case over them.
    """
    judge = network if honest is None else honest
    affine_map = affine(judge, images, classes)
    records = []
    for radius in radii:
        worst = WORST[norm](affine_map, images, labels, radius)
        truth = holds(affine_map, worst, labels)
        # The network's own rounding decides at the edge itself, so nothing is claimed there.
        certain = truth & (worst.amax(dim=1) < -2 * affine_map.error)
        left_by_all = torch.ones_like(truth)
        outside, errors = 0, []
        for name, make in attacks.items():
            left, out, error = _attacked(
                *(network, judge, images, labels, make(radius), norm, radius),
                generator=generator,
                batch_size=batch_size,
                device=truth.device,
            )
            left_by_all &= left
            outside += out
            errors += [f"{name}: {error}"] if error else []
            records.append(_record(name, norm, radius, truth, left, certain, out, error))
        records.append(
            _record(
                *(WORST_CASE, norm, radius, truth, left_by_all, certain, outside), "; ".join(errors)
            )
        )
    return records


def _attacked(
    network: nn.Module,
    judge: nn.Module,
    images: Images,
    labels: np.ndarray,
    attack: Attack,
    norm: str,
    radius: float,
    *,
    generator: torch.Generator,
    batch_size: int,
    device: torch.device,
) -> tuple[Tensor, int, str]:
    """Which images the judge still recognises, how many left the ball, and what went wrong."""
    left, outside, message = [], 0, ""
    for start in range(0, len(images), batch_size):
        batch = to_tensor(images[start : start + batch_size], device)
        own = torch.from_numpy(np.asarray(labels[start : start + batch_size])).to(device)
        try:
            moved = attack(network, batch, own, generator=generator).detach()
        except (RuntimeError, UserError) as error:
            # A network without a gradient ends a gradient attack: that is a finding about it.
            moved, message = batch, str(error).splitlines()[0]
        order = torch.inf if norm == "linf" else 2
        lengths = torch.linalg.vector_norm((moved - batch).flatten(1), order, dim=1) * 255
        inside = lengths <= radius * (1 + 1e-5) + SLACK
        inside &= ((moved >= 0) & (moved <= 1)).flatten(1).all(dim=1)
        outside += int((~inside).sum())
        seen = torch.where(inside[:, None, None, None], moved, batch)
        with torch.no_grad():
            still = judge(seen).argmax(dim=1) == own
            # An image that is wrong without an attack counts as fooled within every radius.
            left.append(still & (judge(batch).argmax(dim=1) == own))
    return torch.cat(left), outside, message


def _record(
    attack: str,
    norm: str,
    radius: float,
    truth: Tensor,
    left: Tensor,
    certain: Tensor,
    outside: int,
    error: str,
) -> Record:
    exact_accuracy, accuracy = truth.double().mean().item(), left.double().mean().item()
    violated = int((certain & ~left).sum())
    gap = accuracy - exact_accuracy
    return Record(
        attack, norm, radius, len(truth), exact_accuracy, accuracy, gap, violated, outside, error
    )
