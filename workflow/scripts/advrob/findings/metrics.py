"""Accuracy on a set of images, comparisons of two, and how far they can be trusted.

An id is ``photograph`` or ``photograph#crop``: several crops of one photograph are not
independent, so intervals count photographs.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from advrob.files.identities import photograph

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Accuracy:
    """The fraction of images whose predicted class is their label.

    Attributes:
        n: images.
        photographs: distinct photographs that they were cropped from.
        correct: images classified correctly; how many to expect, where chance decides.
        accuracy: ``correct / n``.
        low: lower end of the 95 % Wilson interval.
        high: upper end.
    """

    n: int
    photographs: int
    correct: float
    accuracy: float
    low: float
    high: float

    @property
    def percent(self) -> str:
        """The accuracy and its interval in %, as many tables show them: ``93.8 (86 to 97)``."""
        return f"{100 * self.accuracy:.1f} ({100 * self.low:.0f} to {100 * self.high:.0f})"


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same images, or one network on two versions of them.

    Attributes:
        n: images.
        photographs: distinct photographs that they were cropped from.
        difference: how much higher the first accuracy is than the second.
        wins: photographs of which the first has more crops right.
        losses: photographs of which the second has.
        p: exact two-sided p-value of no difference; see `mcnemar`.
        low: lower end of the interval of the difference; see `tango`.
        high: upper end.
    """

    n: int
    photographs: int
    difference: float
    wins: int
    losses: int
    p: float
    low: float
    high: float


@dataclass(frozen=True)
class Spread:
    """Accuracy over several draws of a stochastic defence.

    Attributes:
        draws: how many.
        mean: of the draws' accuracies.
        deviation: their standard deviation (n - 1 in the denominator); 0 for a single draw.
    """

    draws: int
    mean: float
    deviation: float


def wilson(successes: float, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The score interval of a proportion (Wilson 1927, equation 4; no continuity correction).

    Unlike the normal approximation it keeps its coverage near 0 and 1 and at small ``n``.

    Args:
        successes: from 0 to ``n``; need not be whole (a mean over crops, times photographs).
        n: independent trials, at least one.
        confidence: the coverage aimed at, between 0 and 1.

    Raises:
        ValueError: no trials, or successes outside 0 to ``n``.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"wilson: {successes} successes of {n} trials are not a proportion")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    centre = share + z**2 / (2 * n)
    spread = z * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    scale = 1 + z**2 / n
    # At 0 and n successes one end is exactly 0 or 1, which rounding would miss by an ulp.
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == n else (centre + spread) / scale
    return low, high


def newcombe(
    first: float, n_first: int, second: float, n_second: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The interval of the difference of two independent proportions.

    It joins their Wilson intervals (Newcombe 1998, "Interval estimation for the difference between
    independent proportions", method 10).

    Args:
        first: successes of the first, from 0 to ``n_first``; need not be whole.
        n_first: its trials.
        second: successes of the second.
        n_second: its trials.
        confidence: the coverage aimed at, between 0 and 1.

    Returns:
        The ends of the interval of first less second.
    """
    one, other = first / n_first, second / n_second
    low_one, high_one = wilson(first, n_first, confidence)
    low_other, high_other = wilson(second, n_second, confidence)
    difference = one - other
    return (
        difference - math.hypot(one - low_one, high_other - other),
        difference + math.hypot(high_one - one, other - low_other),
    )


def tango(
    wins: float, losses: float, n: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The score interval of the difference of two paired proportions (Tango 1998).

    It holds the differences that a score test does not reject, so like Wilson's interval it keeps
    its coverage where few pairs differ. It excludes 0 where McNemar's test, with the normal
    distribution and without a continuity correction, finds a difference.

    Args:
        wins: pairs of which only the first is a success; need not be whole.
        losses: pairs of which only the second is.
        n: all pairs, at least one.
        confidence: the coverage aimed at, between 0 and 1.

    Returns:
        The ends of the interval of first less second.

    Raises:
        ValueError: no pairs, or more wins and losses than pairs.
    """
    # Sums of shares may miss the whole by a rounding.
    if n < 1 or min(wins, losses) < 0 or wins + losses > n * (1 + 1e-9):
        raise ValueError(f"tango: {wins} wins and {losses} losses of {n} pairs are not proportions")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    estimate = (wins - losses) / n

    def rejected(difference: float) -> bool:
        # The share of losses that is most likely at this difference.
        b = (2 * n - wins + losses) * difference - wins - losses
        c = -losses * difference * (1 - difference)
        share = (math.sqrt(max(0, b**2 - 8 * n * c)) - b) / (4 * n)
        variance = n * (2 * share + difference * (1 - difference))
        return (wins - losses - n * difference) ** 2 > z**2 * variance

    ends = []
    for outside in (-1.0, 1.0):
        inside = estimate
        # Each step halves what is left of at most 2.
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
        ends.append(outside)
    return ends[0], ends[1]


def accuracy(correct: np.ndarray, ids: Sequence[str]) -> Accuracy:
    """Accuracy over images, with an interval that counts photographs.

    The interval is Wilson's at the mean accuracy with as many trials as there are photographs: it
    takes the crops of one photograph as fully dependent, so it is never too narrow. Nor is it for
    probabilities: numbers from 0 to 1 vary at most as much as zeros and ones of the same mean.

    Args:
        correct: bool ``(N,)``; or the probability that each image is right, float ``(N,)``.
        ids: the images' ids, in the same order.

    Raises:
        ValueError: there are no images.
    """
    n, photographs = len(correct), len(set(map(photograph, ids)))
    if n != len(ids):
        raise ValueError(f"accuracy: {n} results for {len(ids)} ids")
    hits = np.sum(correct).item()
    low, high = wilson(hits / max(n, 1) * photographs, photographs)
    return Accuracy(n, photographs, hits, hits / n, low, high)


def mcnemar(wins: int, losses: int) -> float:
    """Exact two-sided p-value of paired outcomes (McNemar 1947, with the binomial distribution).

    Pairs with equal outcomes say nothing about a difference. Without one, each of the others is as
    likely to be a win as a loss.

    Args:
        wins: pairs of which only the first is a success.
        losses: pairs of which only the second is.
    """
    n = wins + losses
    outcomes, total = 1, 0
    for k in range(min(wins, losses) + 1):
        total += outcomes
        outcomes = outcomes * (n - k) // (k + 1)
    return min(1.0, 2 * total / 2**n)


def compare(
    first: np.ndarray, second: np.ndarray, ids: Sequence[str], confidence: float = CONFIDENCE
) -> Comparison:
    """Compare results on the same images, photograph by photograph.

    A photograph of several crops is one observation. For the test it is a win for whoever has more
    of them right (the exact sign test, which is McNemar's where each photograph is one image). The
    interval takes the shares of crops that only one has right for shares of photographs: like that
    of `accuracy` it takes the crops of one photograph as fully dependent.

    Args:
        first: bool ``(N,)``, whether each image is classified correctly.
        second: the same of the other.
        ids: the images' ids, in the same order.
        confidence: the interval's coverage.

    Raises:
        ValueError: the lengths differ, or there are no images.
    """
    if not len(first) == len(second) == len(ids) > 0:
        raise ValueError(f"compare: {len(first)} and {len(second)} results for {len(ids)} ids")
    gains: Counter[str] = Counter()
    for identity, gain in zip(ids, first.astype(int) - second.astype(int), strict=True):
        gains[photograph(identity)] += int(gain)
    wins = sum(gain > 0 for gain in gains.values())
    losses = sum(gain < 0 for gain in gains.values())
    difference = float(first.mean() - second.mean())
    n = len(gains)
    only_first, only_second = float(np.mean(first & ~second)), float(np.mean(second & ~first))
    low, high = tango(only_first * n, only_second * n, n, confidence)
    p = mcnemar(wins, losses)
    return Comparison(len(ids), n, difference, wins, losses, p, low, high)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of a family of comparisons, corrected for their number (Holm 1979).

    Rejecting those below a level, one wrongly rejects any true hypothesis with at most that
    probability, whatever their dependence.

    Returns:
        Corrected values, in the given order.
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def spread(correct: np.ndarray) -> Spread:
    """Accuracy over draws of a stochastic defence.

    It says how far one draw's accuracy may be from another's on the same images, which the
    interval of `accuracy`, about other images, does not.

    Args:
        correct: bool ``(draws, N)``.
    """
    accuracies = np.asarray(correct).mean(axis=1)
    draws = len(accuracies)
    deviation = float(accuracies.std(ddof=1)) if draws > 1 else 0.0
    return Spread(draws, float(accuracies.mean()), deviation)


def power(
    n: int, difference: float, discordance: float, significance: float = 1 - CONFIDENCE
) -> float:
    """The probability that the exact two-sided test of `mcnemar` finds a difference.

    Args:
        n: independent images.
        difference: of the two accuracies.
        discordance: the share of images that exactly one of the two classifies correctly; at least
            the difference.
        significance: the test rejects up to this p-value.

    Raises:
        ValueError: the difference is larger than the discordance, or that is not a share.
    """
    if not abs(difference) <= discordance <= 1 or discordance == 0:
        raise ValueError(f"power: no difference of {difference} at a discordance of {discordance}")
    win = (1 + abs(difference) / discordance) / 2
    # Numbers of discordant images further than 9 standard deviations away do not occur.
    reach = 9 * math.sqrt(n * discordance) + 9
    counts = range(max(0, int(n * discordance - reach)), min(n, int(n * discordance + reach)) + 1)
    factorials = np.cumsum(np.log(np.maximum(1, np.arange(n + 1))))

    def distribution(trials: int, share: float) -> np.ndarray:
        k = np.arange(trials + 1)
        choose = factorials[trials] - factorials[k] - factorials[trials - k]
        with np.errstate(divide="ignore", invalid="ignore"):
            logarithm = choose + _times_log(k, share) + _times_log(trials - k, 1 - share)
        return np.exp(logarithm)

    discordant = distribution(n, discordance)
    probability = 0.0
    for count in counts:
        # The largest number of losses, or of wins, that is still significant.
        tail = np.cumsum(distribution(count, 0.5)[: (count + 1) // 2])
        critical = int(np.searchsorted(2 * tail, significance * (1 + 1e-9), side="right"))
        wins = distribution(count, win)
        probability += discordant[count] * (
            wins[:critical].sum() + wins[count + 1 - critical :].sum()
        )
    return float(probability)


def _times_log(count: np.ndarray, share: float) -> np.ndarray:
    return np.where(count == 0, 0.0, count * np.log(share))


def images_needed(
    difference: float,
    discordance: float,
    probability: float = 0.8,
    significance: float = 1 - CONFIDENCE,
) -> int:
    """How many images it takes to find a difference with the given probability; see `power`.

    With every image more the power rises, but for small steps back where the number of discordant
    images that is needed rises by one.
    """
    low, high = 0, 1
    while power(high, difference, discordance, significance) < probability:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if power(middle, difference, discordance, significance) < probability:
            low = middle
        else:
            high = middle
    return high
