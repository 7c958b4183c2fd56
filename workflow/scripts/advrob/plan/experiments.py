"""The experiments: each a function from the plan to the cells that a table or figure needs.

The rule's input and the table's code read the same list.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

from .names import GAN, GRADIENT, UNIVERSAL, Cell, DataSet, Network
from .plan import Plan

ORIGINAL_IMAGES = DataSet()


def _once(cells: Iterable[Cell]) -> list[Cell]:
    """Cells in their order, each network and data set once."""
    unique: dict[tuple[DataSet, Network], Cell] = {}
    for cell in cells:
        unique.setdefault((cell.dataset, cell.network), cell)
    return list(unique.values())


def _both(plan: Plan, model: str) -> tuple[DataSet, DataSet]:
    """The original images, and those that play the paper's Universal."""
    return ORIGINAL_IMAGES, plan.universal(model)


def table_1(plan: Plan) -> list[Cell]:
    """Every defence on original and universally perturbed images."""
    return _once(
        Cell(dataset, Network(model, defence))
        for model in plan.models
        for dataset in _both(plan, model)
        for defence in plan["experiments.defences"]
    )


def table_2(plan: Plan) -> list[Cell]:
    """Pairs of networks, each on the gradient images made against the other."""
    return _once(
        Cell(DataSet(GRADIENT, Network(model, against)), Network(model, defence))
        for model in plan.models
        for pair in plan["experiments.cross_tests"]
        for against, defence in (pair, pair[::-1])
    )


def table_3(plan: Plan) -> list[Cell]:
    """Downsampling by several ratios, on original and universally perturbed images."""
    return _once(
        Cell(dataset, Network(model, defence))
        for model in plan.models
        for defence in plan["experiments.downsampling"]
        for dataset in _both(plan, model)
    )


def comparisons(plan: Plan) -> list[Cell]:
    """What `table_1` and `table_2` compare, each also without a defence."""
    return [
        *_once(
            Cell(dataset, Network(model, defence))
            for model in plan.models
            for dataset in _both(plan, model)
            for defence in ("none", *plan["experiments.defences"])
        ),
        *_once(
            Cell(DataSet(GRADIENT, Network(model, against)), Network(model, defence))
            for model in plan.models
            for pair in plan["experiments.cross_tests"]
            for against, other in (pair, pair[::-1])
            for defence in ("none", other)
        ),
    ]


def fit_images(plan: Plan) -> list[Cell]:
    """Principal components of more and more images, on original and perturbed images."""
    return _once(
        Cell(dataset, Network(model, defence))
        for model in plan.models
        for dataset in _both(plan, model)
        for defence in plan.grown
    )


def replication(plan: Plan) -> list[Cell]:
    """All that the paper's claims are about."""
    grown = fit_images(plan) if plan["experiments.fit_images"] else []
    own = [
        Cell(DataSet(GRADIENT, network), network)
        for model in plan.models
        for pair in plan["experiments.cross_tests"]
        for network in (Network(model, defence) for defence in pair)
    ]
    taught = [
        Cell(plan.universal(base), Network(model))
        for base in plan.models
        for model in taught_models(plan, base).values()
    ]
    others = [
        Cell(plan.universal(other), Network(model))
        for model in plan.models
        for other in plan.models
    ]
    tables = (table_1(plan), table_2(plan), table_3(plan))
    return _once([*chain(*tables), *grown, *own, *taught, *others])


def robust_networks(plan: Plan) -> list[Network]:
    """The networks that every attack is made against."""
    return [
        *(
            Network(model, defence)
            for model in plan.models
            for defence in plan["experiments.robustness.defences"]
        ),
        *(Network(model) for model in plan["experiments.robustness.trained"] or []),
    ]


def attacked(plan: Plan, network: Network) -> list[DataSet]:
    """The data sets of all attacks on a network."""
    return [DataSet(attack, network) for attack in plan.attacks]


def real_valued(plan: Plan) -> list[DataSet]:
    """The data sets of attacks among real-valued images."""
    return [
        DataSet(name, network)
        for network in robust_networks(plan)
        for name, attack in plan.attacks.items()
        if attack.real_valued
    ]


def robustness(plan: Plan) -> list[Cell]:
    """Each network on original images, and under all attacks on its model and on itself."""
    return _once(
        Cell(dataset, network)
        for network in robust_networks(plan)
        for dataset in (
            ORIGINAL_IMAGES,
            *attacked(plan, network.undefended),
            *attacked(plan, network),
        )
    )


def tries(plan: Plan) -> list[Cell]:
    """The cells of `robustness` whose network draws random numbers; none for a single draw."""
    if plan["experiments.draws"] == 1:
        return []
    return [cell for cell in robustness(plan) if plan.is_stochastic(cell.network.defence)]


def transfer(plan: Plan) -> list[Cell]:
    """Models on original images and on those made against each of them; none without a list."""
    models = plan["experiments.transfer"] or []
    against = [DataSet(UNIVERSAL, Network(model)) for model in models]
    return [
        Cell(dataset, Network(model)) for dataset in (ORIGINAL_IMAGES, *against) for model in models
    ]


def export(plan: Plan, dataset: str) -> Cell:
    """A data set with the network whose predictions are exported beside it.

    That is the network that it was made against; of other data sets, the first model alone.

    Raises:
        ValueError: there is no data set of that name.
    """
    images = DataSet.parse(dataset)
    return Cell(images, images.target or Network(plan.models[0]))


def settings(plan: Plan) -> list[Cell]:
    """Candidate settings of defences, on images outside the test set."""
    return _once(
        Cell(DataSet(data.family, data.target, data.label, tuning=True), Network(model, defence))
        for model in plan.models
        for names in (plan["experiments.settings.candidates"] or {}).values()
        for defence in names
        for data in _both(plan, model)
    )


def compared_models(plan: Plan) -> list[str]:
    """The control, then the preventive models that are compared with it."""
    preventive = plan["experiments.preventive"]
    return [preventive["control"], *preventive["models"]] if preventive else []


def preventive_base(plan: Plan) -> str | None:
    """What all `compared_models` were before their training."""
    models = compared_models(plan)
    return plan["models"][models[0]]["base"] if models else None


def preventive(plan: Plan) -> list[Cell]:
    """Each trained model on original images, under attacks on its base, and under its own."""
    base = preventive_base(plan)
    if base is None:
        return []

    def cells_of(network: Network) -> Iterator[Cell]:
        yield Cell(ORIGINAL_IMAGES, network, "original")
        for family in (UNIVERSAL, GAN):
            yield Cell(DataSet(family, Network(base)), network, f"static {family}")
        for family in (UNIVERSAL, GRADIENT):
            yield Cell(DataSet(family, network), network, f"own {family}")

    return [
        cell
        for model in compared_models(plan)
        for defence in plan["experiments.preventive.defences"]
        for cell in cells_of(Network(model, defence))
    ]


def taught_models(plan: Plan, base: str) -> dict[str, str]:
    """By lesson: the first of `compared_models` that was trained by it from a model."""
    taught: dict[str, str] = {}
    for model in compared_models(plan) if preventive_base(plan) == base else []:
        taught.setdefault(plan["models"][model]["train"]["method"], model)
    return taught


def figure_sweep(plan: Plan, *, attacked: bool) -> list[Cell]:
    """The undefended models of a figure of accuracy against noise."""
    return [
        Cell(plan.universal(model) if attacked else ORIGINAL_IMAGES, Network(model))
        for model in plan.models
    ]


def certified(plan: Plan) -> list[Network]:
    """The networks whose predictions are certified."""
    return [
        Network(model, defence)
        for model in plan.models
        for defence in plan["experiments.smoothing.defences"] or []
    ]
