"""Names: of networks, of data sets and of the files that hold them.

A **network** is a model behind a defence. A **data set** is the test images, original or attacked;
its name says whom the attack was made against. They are composed and taken apart here and nowhere
else.
"""

from dataclasses import dataclass
from enum import StrEnum

UNDEFENDED = "none"
# Families of data sets that are no configured attack.
ORIGINAL, UNIVERSAL, GRADIENT, GAN, PUBLISHED = (
    "original",
    "universal",
    "gradient",
    "gan",
    "published",
)
TUNING = "tuning"


class Knowledge(StrEnum):
    """What the maker of a data set knew of the network that is scored on it."""

    # The images are not attacked.
    NONE = "none"
    # Its perturbation was published; the data set's name says for which network.
    PUBLISHED = "published"
    # It was made against another network.
    TRANSFERRED = "transferred"
    # It was made against the same model, but without the defence.
    MATCHED = "matched"
    # It was made against this very network, its defence included.
    ADAPTIVE = "adaptive"


@dataclass(frozen=True, order=True)
class Network:
    """A model behind a defence.

    Attributes:
        model: the model's name in the configuration.
        defence: the defence's; `UNDEFENDED` for the model alone.
    """

    model: str
    defence: str = UNDEFENDED

    def __str__(self) -> str:
        """``model/defence``, as tables and paths have it."""
        return f"{self.model}/{self.defence}"

    @property
    def undefended(self) -> "Network":
        """The same model without a defence."""
        return Network(self.model)


@dataclass(frozen=True, order=True)
class DataSet:
    """The test images, original or attacked.

    Attributes:
        family: ``original``, ``published``, ``universal``, ``gradient``, ``gan`` or the name of an
            attack in the configuration.
        target: the network that it was made against, if it was made here.
        label: of a published perturbation, its name in the configuration.
        tuning: whether the images are those that settings are chosen on instead of the test images.
    """

    family: str = ORIGINAL
    target: Network | None = None
    label: str = ""
    tuning: bool = False

    @property
    def name(self) -> str:
        """The name of its file, without the ending: ``universal-m-none`` for example."""
        target = [self.target.model, self.target.defence] if self.target else []
        parts = [self.family, *([self.label] if self.label else []), *target]
        if not self.tuning:
            return "-".join(parts)
        return TUNING if self.family == ORIGINAL else "-".join([TUNING, *parts])

    __str__ = name.fget  # type: ignore[attr-defined]

    @classmethod
    def parse(cls, name: str) -> "DataSet":
        """The data set of a name that `name` composed.

        Raises:
            ValueError: it is no such name.
        """
        if name == TUNING:
            return cls(tuning=True)
        tuning = name.startswith(f"{TUNING}-")
        match name.removeprefix(f"{TUNING}-").split("-"):
            case ["original"] if not tuning:
                return cls()
            case ["published", label] if label:
                return cls(PUBLISHED, label=label, tuning=tuning)
            case [family, model, defence] if family and model and defence:
                if family not in (ORIGINAL, PUBLISHED, TUNING):
                    return cls(family, Network(model, defence), tuning=tuning)
        raise ValueError(
            f"'{name}' is not a data set. Expected original, published-NAME or "
            "ATTACK-MODEL-DEFENCE."
        )

    def knowledge_of(self, network: Network) -> Knowledge:
        """What its maker knew of a network: the one answer, for every table."""
        if self.family == ORIGINAL:
            return Knowledge.NONE
        if self.target is None:
            return Knowledge.PUBLISHED
        if self.target == network:
            return Knowledge.ADAPTIVE
        return Knowledge.MATCHED if self.target == network.undefended else Knowledge.TRANSFERRED


@dataclass(frozen=True, order=True)
class Cell:
    """A cell of the matrix: one network scored on one data set.

    Attributes:
        dataset: what it is scored on.
        network: that is scored.
        role: what a table or figure needs it for, where its place there does not follow from its
            name.
    """

    dataset: DataSet
    network: Network
    role: str = ""

    @property
    def path(self) -> str:
        """Its score file."""
        return f"results/scores/{self.dataset.name}/{self.network}.h5"


def dataset_file(dataset: DataSet) -> str:
    """The file of a data set."""
    return f"results/datasets/{dataset.name}.h5"


def model_file(model: str) -> str:
    """The file with what a trained model learned."""
    return f"results/models/{model}.h5"


def defence_file(defence: str) -> str:
    """The file with what a fitted defence learned."""
    return f"results/defences/shared/{defence}.h5"


def certificate_file(network: Network, dataset: DataSet | None = None) -> str:
    """The file of a network's certificates; a model alone has a shorter name."""
    name = network.model if network == network.undefended else str(network)
    return f"results/certified/{(dataset or DataSet()).name}/{name}.h5"
