"""Which scores are made in one job."""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .names import Cell, DataSet, Network

# A network's scores; not those of a model behind several magnitudes of noise.
SCORE_FILE = re.compile(r"results/scores/([^/]+)/([^/]+)/(?!sweep-noise)([^/]+)\.h5$")


@dataclass(frozen=True)
class Batch:
    """Cells of one network that are scored in one job.

    Attributes:
        name: of its rule.
        folder: of its log, in the folder of all logs of scores.
        network: that is scored; its names may be wildcards.
        datasets: that it is scored on; they may be a wildcard.
    """

    name: str
    folder: str
    network: Network
    datasets: tuple[DataSet, ...]

    @property
    def cells(self) -> list[Cell]:
        """One for each data set."""
        return [Cell(dataset, self.network) for dataset in self.datasets]

    def network_of(self, wildcards: Any) -> Network:
        """The network of a job."""
        return Network(
            self.network.model.format_map(wildcards), self.network.defence.format_map(wildcards)
        )

    def names_of(self, wildcards: Any) -> list[str]:
        """The names of a job's data sets."""
        return [dataset.name.format_map(wildcards) for dataset in self.datasets]


# A cell that is in no other batch.
ANY_CELL = Batch(
    "score",
    "{dataset}/{model}/{defence}",
    Network("{model}", "{defence}"),
    (DataSet("{dataset}"),),
)


def score_batches(needed_by: Mapping[str, Collection[str]]) -> list[Batch]:
    """Cells of one network that exactly the same rules need, in batches.

    So no job makes a score that is not needed wherever its others are.

    Args:
        needed_by: files -> the names of the rules that they are inputs of; files that are no
            scores are passed over.

    Returns:
        Batches of several cells. Each network and each data set is in its order in ``needed_by``.
    """
    together: dict[tuple[Network, frozenset[str]], list[DataSet]] = defaultdict(list)
    for file, rules in needed_by.items():
        match = SCORE_FILE.search(file)
        if match:
            dataset, model, defence = match.groups()
            together[Network(model, defence), frozenset(rules)].append(DataSet.parse(dataset))
    batches = [(network, sets) for (network, _), sets in together.items() if len(sets) > 1]
    return [
        Batch(
            f"score_{network.model}_{network.defence}_{number}",
            f"together/{network}/{number}",
            network,
            tuple(datasets),
        )
        for number, (network, datasets) in enumerate(batches, 1)
    ]
