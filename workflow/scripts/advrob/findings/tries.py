"""Random defences: what randomness protects from an attacker who may try again.

A stochastic defence draws anew in every pass, so an attacked image that fails once may succeed the
next time. Scores hold several fresh draws of each image; three questions have three answers:

- a **single draw**: how often one pass is right. The first draw is what tables 1 to 3 show, the
  mean of all draws estimates the same with less chance in it;
- the **majority**: how many images are right in more than half of the draws. Half is not enough;
- **tries**: how many images are right in every one of t draws, so that an attacker who submits each
  attacked image t times, and needs a single mistake, never succeeds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from advrob.errors import UserError
from advrob.files import provenance, store
from advrob.findings import metrics
from advrob.findings.metrics import Accuracy
from advrob.findings.tables import Table, Value
from advrob.plan.names import ORIGINAL, DataSet, Knowledge, Network

COLUMNS = ("model", "defence", "knowledge", "attack", "n", "draws")
# What is told apart: the ends of columns, and headings.
NUMBERS = {
    "first": "First draw, %",
    "mean": "Mean of draws, %",
    "majority": "Majority, %",
    "all": "All draws, %",
}


def surviving(draws: np.ndarray) -> np.ndarray:
    """The probability that each image stays right in so many tries, float ``(draws, N)``.

    Row t - 1 is about t tries. If k of n draws are right, t of them taken without replacement all
    are with probability ``C(k, t) / C(n, t)``. Its expectation is exactly ``p^t``, p being the
    probability that a draw is right (Hoeffding 1948, the U-statistic of the product of t draws;
    Chen et al. 2021, "Evaluating large language models trained on code", equation 1, has its
    complement). ``(k / n)^t`` would be too high.

    Args:
        draws: whether each image is right in each draw, bool ``(draws, N)``.
    """
    n, correct = len(draws), draws.sum(axis=0)
    tried = np.arange(n)[:, None]
    # Of the draws that are left, the share that is right.
    return np.cumprod(np.maximum(correct - tried, 0) / (n - tried), axis=0)


@dataclass(frozen=True)
class Tried:
    """A stochastic network on one data set.

    Attributes:
        network: its names.
        dataset: what it was scored on.
        ids: of the images, those that all of the network's data sets have.
        draws: whether each image is right in each draw, bool ``(draws, N)``.
    """

    network: Network
    dataset: DataSet
    ids: Sequence[str]
    draws: np.ndarray

    @property
    def knowledge(self) -> Knowledge:
        """What the attacker knew of the network."""
        return self.dataset.knowledge_of(self.network)

    @property
    def is_attacked(self) -> bool:
        """Whether the images are not the original ones."""
        return self.dataset.family != ORIGINAL

    @property
    def label(self) -> str:
        """For a legend."""
        attack = self.dataset.family
        if self.is_attacked:
            attack = f"{self.knowledge} {attack}"
        return f"{self.network.model}, {self.network.defence}, {attack}"

    @property
    def tries(self) -> list[Accuracy]:
        """Accuracy after each number of tries from one, after which it is the mean of the draws."""
        return [metrics.accuracy(row, self.ids) for row in surviving(self.draws)]

    @property
    def first(self) -> Accuracy:
        """Accuracy in the first draw."""
        return metrics.accuracy(self.draws[0], self.ids)

    @property
    def majority(self) -> Accuracy:
        """The share of images that are right in more than half of the draws."""
        return metrics.accuracy(2 * self.draws.sum(axis=0) > len(self.draws), self.ids)


def read(scores: Iterable[str]) -> list[Tried]:
    """What is in score files, in their order.

    Raises:
        UserError: there is none.
    """
    members: list[tuple[Network, DataSet, dict[str, np.ndarray]]] = []
    for path in scores:
        with store.read(path, "scores/1") as file:
            made, draws = provenance.params(file), file["draws"][:]
            columns = dict(zip(store.strings(file["ids"]), draws.T, strict=True))
        network = Network(made["model"], made["defence"])
        members.append((network, DataSet.parse(made["dataset"]), columns))
    if not members:
        raise UserError(
            "table_tries and figure_tries: no defence of experiments.robustness.defences draws "
            "random numbers, or experiments.draws is 1. Expected a stochastic defence, such as "
            "noise, and at least two draws."
        )
    tried = []
    for network, dataset, columns in members:
        others = [other for owner, _, other in members if owner == network]
        ids = [name for name in columns if all(name in other for other in others)]
        draws = np.stack([columns[name] for name in ids], axis=1)
        tried.append(Tried(network, dataset, ids, draws))
    return tried


def strongest(tried: Sequence[Tried]) -> list[Tried]:
    """The attack on each network that leaves the lowest mean of the draws, the first of equals."""
    networks = dict.fromkeys(each.network for each in tried)
    attacks = [each for each in tried if each.is_attacked]
    return [
        min(
            (each for each in attacks if each.network == network),
            key=lambda each: each.tries[0].accuracy,
        )
        for network in networks
    ]


def table_tries(files: Iterable[str]) -> Table:
    """A single draw, the majority of draws, and all of them, of each network under each attack.

    Args:
        files: score files of stochastic networks.

    Raises:
        UserError: there is none.
    """
    rows: list[tuple[Value, ...]] = []
    lines: list[tuple[str, ...]] = []
    tried = read(files)
    for each in tried:
        after = each.tries
        numbers = (each.first, after[0], each.majority, after[-1])
        names = (each.network.model, each.network.defence, each.knowledge, each.dataset.family)
        draws = len(each.draws)
        intervals = [end for one in numbers for end in (one.accuracy, one.low, one.high)]
        rows.append((*names, each.first.n, draws, *intervals))
        lines.append((*names, str(draws), *(result.percent for result in numbers)))
    ends = [f"{part}_{name}" for name in NUMBERS for part in ("accuracy", "ci_low", "ci_high")]
    return Table(
        columns=(*COLUMNS, *ends),
        rows=rows,
        title="Random defences: a single draw, the majority, and an attacker who tries again",
        header=("Model", "Defence", "Knowledge", "Attack", "Draws", *NUMBERS.values()),
        lines=lines,
        remark="The mean of the draws is how often a single pass is right. The majority is the "
        "share of images that are right in more than half of the draws; half is not enough. All "
        "draws is the share that an attacker never breaks who tries each image so often. Intervals "
        "are 95 % Wilson score intervals that count photographs, not crops.",
        accuracies=[each.first for each in tried],
        answer=answer(tried),
    )


def answer(tried: Sequence[Tried]) -> str:
    """What the strongest attack on each network leaves, after one try and after all."""
    return "; ".join(
        f"{each.label}: {each.tries[0].accuracy:.1%} after one try, "
        f"{each.tries[-1].accuracy:.1%} after {len(each.draws)}"
        for each in strongest(tried)
    )
