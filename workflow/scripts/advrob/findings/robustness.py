"""From scores under attacks to what a sceptical reader asks for: worst cases, and checks of them.

Tables join files by the images' ids. An image counts as right when more than half of the draws of a
stochastic defence are; others have one draw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from advrob.errors import UserError
from advrob.files import store
from advrob.findings import metrics
from advrob.findings.tables import NONE, Cell, Table, Value

# What a network may still get right within the largest radius, and how many of its gradients may
# vanish, before something must be wrong with the attack.
FLOOR = 0.05
VANISHING = 0.05
# A gradient shorter than this, of pixels in [0, 1], is none.
TINY = 1e-12
# Differences count against a check from this p-value on: one-sided 0.5 %, as there are many checks.
SIGNIFICANCE = 0.01


@dataclass(frozen=True)
class Outcome:
    """One network on one data set.

    Attributes:
        dataset: its name.
        right: by image id.
        spread: of the accuracy over draws.
    """

    dataset: str
    right: Mapping[str, bool]
    spread: metrics.Spread


@dataclass
class Network:
    """All that is known of one network.

    Attributes:
        model: its name.
        defence: its name.
        outcomes: by data set.
        checks: what was tested, in order.
    """

    model: str
    defence: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    checks: list["Check"] = field(default_factory=list)


@dataclass(frozen=True)
class Check:
    """A property that a sound evaluation has.

    Attributes:
        name: short.
        subject: the data set, or what else was looked at.
        passed: whether it has it.
        found: the measured value.
        expected: in words.
    """

    name: str
    subject: str
    passed: bool
    found: float
    expected: str


def read_outcomes(scores: Sequence[str]) -> list[Network]:
    """Networks with their outcomes, in the files' order."""
    found: dict[tuple[str, str], Network] = {}
    for path in scores:
        with store.read(path, "scores/1") as file:
            draws, ids, made = file["draws"][:], store.strings(file["ids"]), store.params(file)
        network = found.setdefault(
            (made["model"], made["defence"]), Network(made["model"], made["defence"])
        )
        right = dict(zip(ids, (2 * draws.sum(axis=0) > len(draws)).tolist(), strict=True))
        network.outcomes[made["dataset"]] = Outcome(made["dataset"], right, metrics.spread(draws))
    return list(found.values())


def add_checks(
    networks: Sequence[Network],
    budgets: Sequence[str],
    controls: Sequence[str],
    bounds: Mapping[str, float],
    black_box: Sequence[str],
) -> None:
    """Test the evaluation of each network.

    Args:
        networks: changed in place.
        budgets: a file of each network, in their order.
        controls: likewise.
        bounds: family of a data set -> radius, in units of 1/255.
        black_box: families of attacks that do without gradients.
    """
    for network, budget, control in zip(networks, budgets, controls, strict=True):
        network.checks += [
            *_control_checks(network, control, bounds),
            *_strength_checks(network, black_box),
            *_budget_checks(budget),
        ]


def _control_checks(network: Network, path: str, bounds: Mapping[str, float]) -> list[Check]:
    with store.read(path, "controls/1") as file:
        datasets, names = store.strings(file["datasets"]), store.strings(file["controls"])
        correct, farthest, ids = file["correct"][:], file["farthest"][:], store.strings(file["ids"])
    checks = []
    for row, dataset in enumerate(datasets):
        radius = bounds[family(dataset)]
        checks.append(
            Check(
                "stays in bounds",
                dataset,
                bool(farthest[row] <= radius + 1e-3),
                float(farthest[row]),
                f"at most {radius:g}/255 in 8 bits",
            )
        )
        attacked = _rights(network.outcomes[dataset], ids)
        for column, name in enumerate(names):
            result = metrics.compare(correct[row, column], attacked, ids)
            checks.append(
                Check(
                    f"beats {name}",
                    dataset,
                    not _significantly_below(result),
                    result.difference,
                    "random changes of the same size cost less",
                )
            )
    return checks


def _strength_checks(network: Network, black_box: Sequence[str]) -> list[Check]:
    own, bare = f"{network.model}-{network.defence}", f"{network.model}-none"
    checks = []
    adaptive = {family(d): o for d, o in network.outcomes.items() if d.endswith(f"-{own}")}
    for name, outcome in adaptive.items():
        others = {f"{name}-{bare}": network.outcomes.get(f"{name}-{bare}")} if own != bare else {}
        if name not in black_box and name not in ("universal", "gradient"):
            others |= {f"{other}-{own}": adaptive.get(other) for other in black_box}
        for other, weaker in others.items():
            if weaker is None:
                continue
            ids = [identity for identity in outcome.right if identity in weaker.right]
            result = metrics.compare(_rights(weaker, ids), _rights(outcome, ids), ids)
            checks.append(
                Check(
                    "as strong as " + other,
                    outcome.dataset,
                    not _significantly_below(result),
                    result.difference,
                    "knowing the network, or its gradient, is no disadvantage",
                )
            )
    return checks


def _budget_checks(path: str) -> list[Check]:
    with store.read(path, "budget/1") as file:
        radii, correct = file["radii"][:], file["correct"][:]
        efforts, by_effort = file["efforts"][:], file["correct_effort"][:]
        lengths, ids = file["gradients"][:], store.strings(file["ids"])
    checks = []
    for name, budget, rows in (("radius", radii, correct), ("effort", efforts, by_effort)):
        for low, high, before, after in zip(budget, budget[1:], rows, rows[1:], strict=False):
            result = metrics.compare(before, after, ids)
            checks.append(
                Check(
                    f"falls with the {name}",
                    f"{low:g} to {high:g}",
                    not _significantly_below(result),
                    result.difference,
                    f"more {name} costs accuracy, or as much",
                )
            )
    last = float(correct[-1].mean())
    checks.append(
        Check(
            "falls to nothing",
            f"radius {radii[-1]:g}",
            last <= FLOOR,
            last,
            f"at most {FLOOR:g} within the largest radius",
        )
    )
    vanishing = float((~np.isfinite(lengths) | (lengths < TINY)).mean())
    checks.append(
        Check(
            "has gradients",
            "original",
            vanishing <= VANISHING,
            vanishing,
            f"at most {VANISHING:g} of the images without a finite gradient above 0",
        )
    )
    return checks


def _significantly_below(result: metrics.Comparison) -> bool:
    return result.p < SIGNIFICANCE and result.difference < 0


def _rights(outcome: Outcome, ids: Sequence[str]) -> np.ndarray:
    missing = [identity for identity in ids if identity not in outcome.right]
    if missing:
        raise UserError(
            f"{outcome.dataset}: has no score of {missing[0]} and {len(missing) - 1} more images. "
            "Expected one of every attacked image; delete its old scores."
        )
    return np.array([outcome.right[identity] for identity in ids])


def family(dataset: str) -> str:
    """The kind of attack in a data set's name."""
    return dataset.split("-")[0]


# The column of the image-by-image worst case.
WORST = "worst case"
ROBUSTNESS_COLUMNS = (
    *("model", "defence", "knowledge", "attack", "n", "accuracy", "ci_low", "ci_high"),
    *("spread", "checks"),
)
CHECK_COLUMNS = ("model", "defence", "check", "subject", "passed", "found", "expected")


def table_robustness(networks: Sequence[Network]) -> tuple[Table, list[Cell]]:
    """What each network gets right under static attacks, adaptive ones, and all that know it.

    The worst case is decided image by image: right on the original and under every adaptive attack.
    Attacks that do not know the defence never enter it. Only images that every attack was tried on
    count.

    Returns:
        The table, and its worst cases.
    """
    families = dict.fromkeys(family(d) for network in networks for d in network.outcomes)
    attacks = [name for name in families if name != "original"]
    columns = [("none", "original"), *(("static", name) for name in attacks)]
    columns += [("adaptive", name) for name in (*attacks, WORST)]
    rows: list[tuple[Value, ...]] = []
    lines: list[tuple[str, ...]] = []
    worst_cases = []
    for network in networks:
        outcomes = network.outcomes
        ids = [
            i for i in outcomes["original"].right if all(i in o.right for o in outcomes.values())
        ]
        right = {(knowledge(d, network), family(d)): _rights(o, ids) for d, o in outcomes.items()}
        known = [values for (known, _), values in right.items() if known != "static"]
        right["adaptive", WORST] = np.all(known, axis=0)
        results = {key: metrics.accuracy(values, ids) for key, values in right.items()}
        spreads = {(knowledge(d, network), family(d)): o.spread for d, o in outcomes.items()}
        failed = dict.fromkeys(check.name for check in network.checks if not check.passed)
        remark = f"failed: {', '.join(failed)}" if failed else "passed"
        for key, result in results.items():
            numbers = (result.n, result.accuracy, result.low, result.high)
            spread = spreads[key].deviation if key in spreads else NONE
            rows.append((network.model, network.defence, *key, *numbers, spread, remark))
        cells = (_percent(results[key]) if key in results else NONE for key in columns)
        lines.append((network.model, network.defence, *cells, remark))
        worst = results["adaptive", WORST]
        worst_cases.append(Cell(WORST, network.model, network.defence, worst))
    titles = (name if known == "none" else f"{known}: {name}" for known, name in columns)
    table = Table(
        columns=ROBUSTNESS_COLUMNS,
        rows=rows,
        title="Robustness: accuracy in percent, with 95 % intervals",
        header=("Model", "Defence", *titles, "Checks"),
        lines=lines,
    )
    return table, worst_cases


def knowledge(dataset: str, network: Network) -> str:
    """What a data set's maker knew of a network: ``none`` (no attack), ``static``, ``adaptive``."""
    if dataset == "original":
        return "none"
    known = dataset.endswith(f"-{network.model}-{network.defence}")
    return "adaptive" if known else "static"


def _percent(result: metrics.Accuracy) -> str:
    return f"{100 * result.accuracy:.1f} ({100 * result.low:.0f} to {100 * result.high:.0f})"


def table_checks(networks: Sequence[Network]) -> Table:
    """Every check of every network."""
    rows = [
        (
            network.model,
            network.defence,
            check.name,
            check.subject,
            str(check.passed).lower(),
            check.found,
            check.expected,
        )
        for network in networks
        for check in network.checks
    ]
    return Table(
        columns=CHECK_COLUMNS,
        rows=rows,
        title="Checks of the evaluation",
        header=("Model", "Defence", "Check", "Of", "Verdict", "Found", "Expected"),
        lines=[
            (
                model,
                defence,
                name,
                subject,
                "passed" if passed == "true" else "**failed**",
                f"{found:.4g}",
                expected,
            )
            for model, defence, name, subject, passed, found, expected in rows
        ],
    )
