"""Figures of curves, and one of a matrix: one function a figure.

`sweep`, `budget`, `tries`, `fit_images`, `certified`, `training` and `transfer` read files and
return a `Chart`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure

from advrob.figures.charts import Curve, Level, Line, Published, draw
from advrob.figures.plotting import COLOURS
from advrob.figures.training import COLUMNS as TRAINING_COLUMNS
from advrob.figures.training import read_history, training_chart
from advrob.figures.transfer import heat_map
from advrob.files import provenance, store
from advrob.findings import metrics, paper, tables
from advrob.findings import transfer as transferred
from advrob.findings import tries as tried
from advrob.findings.certified import PUBLISHED
from advrob.findings.metrics import Accuracy
from advrob.findings.tables import Result, Value

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Chart:
    """A figure, and what goes with it.

    Attributes:
        figure: to be saved.
        columns: the header of its CSV.
        rows: the numbers that it draws.
        summary: a sentence for the log.
    """

    figure: Figure
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    summary: str


def sweep(*, sweeps: Sequence[str], scores: Sequence[str], pattern: str | None = None) -> Chart:
    """Accuracy against the magnitude of uniform noise (the paper's Figures 11 and 12).

    A dashed line is the same model without a defence, grey lines are the paper's two accuracies on
    such images.

    Args:
        sweeps: sweep files on data sets of one kind, one a model.
        scores: score files of these models, without a defence, on the same data sets.
        pattern: file names of the images that count.

    Raises:
        UserError: no image matches.
    """
    curves = [read_sweep(path, pattern) for path in sweeps]
    undefended = {
        (cell.model, cell.dataset): cell.accuracy.accuracy
        for cell in tables.read_results(scores, None, pattern)
    }
    items: list[Line | Level] = []
    for curve, colour in zip(curves, cycle(COLOURS), strict=False):
        model, dataset = curve.names["model"], curve.names["dataset"]
        level = undefended[str(model), str(dataset)]
        label = f"{model}, no defence: {100 * level:.1f} %"
        items += [Line(curve, f"{model}, noise", colour), Level(level, label, colour)]
    kind = "original" if curves[0].names["dataset"] == "original" else "universal"
    for defence, name, style in (
        ("none", "no defence", "--"),
        ("noise", "noise of an unstated magnitude", ":"),
    ):
        level = paper.TABLE_1[kind, defence]
        items.append(Level(level, f"paper, {name}: {100 * level:.2f} %", style=style))
    attack = "original" if kind == "original" else "universally perturbed"
    title = f"Noise on {attack} images ({_photographs(curves)})"
    best, magnitude, result = _best(curves)
    x_label = "Half-width of the uniform noise, in units of 1/255"
    return _chart(
        draw(items, x_label=x_label, title=title),
        curves,
        f"{title}: at best {100 * result.accuracy:.2f} % "
        f"({best.names['model']}, ±{magnitude:g}/255)",
    )


def read_sweep(path: str, pattern: str | None = None) -> Curve:
    """The accuracies in a sweep file, over the images whose file name matches ``pattern``.

    Raises:
        UserError: no image matches.
    """
    with store.read(path, "sweep/1") as file:
        ids, correct = store.strings(file["ids"]), file["correct"][:]
        magnitudes, params = file["magnitudes"][:], provenance.params(file)
    selected, selected_ids = tables.matching(path, ids, pattern)
    order = magnitudes.argsort()
    return Curve(
        {"model": params["model"], "dataset": params["dataset"]},
        "magnitude",
        magnitudes[order].tolist(),
        [metrics.accuracy(row[selected], selected_ids) for row in correct[order]],
    )


def budget(*, budgets: Sequence[str]) -> Chart:
    """Accuracy against the radius of an attack that knows the network.

    Args:
        budgets: budget files with the same radii, one a network.
    """
    curves = [read_budget(path) for path in budgets]
    looks = zip(cycle(COLOURS), cycle(MARKERS), strict=False)
    lines = [
        Line(curve, "{model}, {defence}".format(**curve.names), colour, f"{marker}-")
        for curve, (colour, marker) in zip(curves, looks, strict=False)
    ]
    figure = draw(
        lines,
        x_label="Radius of the attack in ℓ∞, in units of 1/255",
        title=f"Attacks that know the network ({_photographs(curves)})",
        # Radii double from one to the next.
        scale="even",
    )
    highest = max(curve.results[-1].accuracy for curve in curves)
    summary = f"{len(curves)} networks; at the largest radius the highest accuracy is {highest:.1%}"
    return _chart(figure, curves, summary)


def read_budget(path: str) -> Curve:
    """The accuracies in a budget file by radius."""
    with store.read(path, "budget/1") as file:
        ids, params = store.strings(file["ids"]), provenance.params(file)
        radii, correct = file["radii"][:], file["correct"][:]
    order = radii.argsort()
    return Curve(
        {"model": params["model"], "defence": params["defence"]},
        "radius",
        radii[order].tolist(),
        [metrics.accuracy(row, ids) for row in correct[order]],
    )


def tries(*, scores: Sequence[str]) -> Chart:
    """Accuracy of stochastic networks against the number of tries that an attacker has.

    A solid line is a network under its strongest attack, a dashed one the same network on original
    images, which its randomness alone breaks; dots are the majority of the draws under attack.

    Args:
        scores: score files of stochastic networks on original and on attacked images.

    Raises:
        UserError: there is none.
    """
    every = tried.read(scores)
    curves: list[Curve] = []
    items: list[Line | Level] = []
    for attacked, colour in zip(tried.strongest(every), cycle(COLOURS), strict=False):
        shown = [
            attacked,
            *(each for each in every if each.network == attacked.network and not each.is_attacked),
        ]
        for each in shown:
            curve = _tries(each)
            curves.append(curve)
            items.append(Line(curve, each.label, colour, "o-" if each is attacked else "o--"))
        level, draws = attacked.majority.accuracy, len(attacked.draws)
        items.append(Level(level, f"the majority of {draws}: {100 * level:.1f} %", colour, ":"))
    figure = draw(
        items,
        x_label="Tries of the attacker with each image",
        title=f"Random defences ({_photographs(curves)})",
    )
    figure.axes[0].locator_params(axis="x", integer=True)
    return _chart(figure, curves, tried.answer(every))


def _tries(each: tried.Tried) -> Curve:
    names = {"model": each.network.model, "defence": each.network.defence}
    names |= {"knowledge": each.knowledge, "attack": each.dataset.family}
    results = each.tries
    return Curve(names, "tries", list(range(1, len(results) + 1)), results)


def fit_images(
    *, states: Sequence[str], scores: Sequence[str], pattern: str | None = None
) -> Chart:
    """Accuracy against the number of images that principal components were fitted to.

    Crosses are the paper's two accuracies; a colour is a model.

    Args:
        states: files of the fitted defences.
        scores: score files behind each of them, of one or more models and data sets.
        pattern: file names of the images that count.

    Raises:
        UserError: no image matches.
    """
    images = dict(map(_read_fit_images, states))
    curves = _by_fit_images(tables.read_results(scores, None, pattern), images)
    models = list(dict.fromkeys(curve.names["model"] for curve in curves))
    items: list[Line | Published] = [
        Line(
            curve,
            "{model}, {dataset}".format(**curve.names),
            COLOURS[models.index(curve.names["model"]) % len(COLOURS)],
            "o-" if curve.names["dataset"] == "original" else "s--",
        )
        for curve in curves
    ]
    for dataset, marker in (("original", "+"), ("universal", "x")):
        level = paper.TABLE_1[dataset, "pca"]
        label = f"paper, {dataset}, {paper.FIT_IMAGES:,}: {100 * level:.2f} %"
        items.append(Published([paper.FIT_IMAGES], [level], label, marker))
    figure = draw(
        items,
        x_label="Images that the principal components were fitted to",
        title=f"PCA fitted to more images ({_photographs(curves)})",
        scale="log",
    )
    best, count, result = _best(curves)
    summary = (
        f"at best {result.accuracy:.2%} of {best.names['dataset']}, fitted to {count:,} images"
    )
    return _chart(figure, curves, summary)


def _read_fit_images(path: str) -> tuple[str, int]:
    """The name of the defence in a file of principal components, and its ``images``."""
    with store.read(path, "state/1") as file:
        return provenance.params(file)["defence"], int(file["images"][()])


def _by_fit_images(cells: Iterable[Result], images: Mapping[str, int]) -> list[Curve]:
    """One curve a model and data set; ``images`` says how many each defence was fitted to."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for cell in sorted(cells, key=lambda cell: images[cell.defence]):
        groups.setdefault((cell.model, cell.dataset), []).append(cell)
    return [
        Curve(
            {"model": model, "dataset": dataset},
            "images",
            [images[cell.defence] for cell in group],
            [cell.accuracy for cell in group],
            {"defence": [cell.defence for cell in group]},
        )
        for (model, dataset), group in groups.items()
    ]


@dataclass(frozen=True)
class _Certificates:
    """What is certified for one network under noise of one strength.

    Attributes:
        dataset: the data set's name.
        model: the model's name.
        defence: the defence's name.
        sigma: the noise's standard deviation, in units of 1/255.
        radii: within which each image's class is right and certified, ``(n,)``, in units of 1/255;
            below zero where it is wrong or none is certified.
        ids: the images' ids.
    """

    dataset: str
    model: str
    defence: str
    sigma: float
    radii: np.ndarray
    ids: Sequence[str]

    @property
    def network(self) -> tuple[str, str]:
        """Model and defence."""
        return self.model, self.defence

    def curve(self) -> Curve:
        """Certified accuracy at radius 0, wherever it falls, and at the first level of zero."""
        certain = np.unique(self.radii[self.radii > 0]).tolist()
        xs = [0.0, *certain, math.floor(max(certain, default=0)) + 1.0]
        return Curve(
            {
                "dataset": self.dataset,
                "model": self.model,
                "defence": self.defence,
                "sigma": self.sigma,
            },
            "radius",
            xs,
            [metrics.accuracy(self.radii >= x, self.ids) for x in xs],
        )


def _read_certificates(path: str) -> list[_Certificates]:
    """The certificates in a file, by strength of the noise."""
    with store.read(path, "certified/1") as file:
        sigmas, ids = file["sigmas"][:].tolist(), store.strings(file["ids"])
        predicted, radius, labels = file["predicted"][:], file["radius"][:], file["labels"][:]
        params = provenance.params(file)
    radii = np.where(predicted == labels, radius, -1.0)
    # Files about a model alone name no defence.
    names = (params["dataset"], params["model"], params.get("defence", "none"))
    return [
        _Certificates(*names, sigma, row, ids) for sigma, row in zip(sigmas, radii, strict=True)
    ]


def certified(
    *, certified: Sequence[str], references: Sequence[tuple[str, float, float]] = PUBLISHED
) -> Chart:
    """Certified accuracy against the l_2 radius, a curve for each network and sigma.

    The certified accuracy at a radius is the share of images whose class is right and certified to
    be the same within at least that distance (Cohen, Rosenfeld and Kolter 2019, section 4). It
    falls at the radius of each image and nowhere else, so curves are exact.

    Args:
        certified: files of certificates on one data set; a colour is a sigma, dashes are a network.
        references: published results: name, radius in units of 1/255, certified accuracy in [0, 1].
    """
    certificates = [each for path in certified for each in _read_certificates(path)]
    curves = [each.curve() for each in certificates]
    networks = list(dict.fromkeys(each.network for each in certificates))
    sigmas = sorted({each.sigma for each in certificates})
    items: list[Line | Published] = [
        Line(
            curve,
            f"{each.model}, {each.defence}, σ = {each.sigma:g}",
            COLOURS[sigmas.index(each.sigma) % len(COLOURS)],
            DASHES[networks.index(each.network) % len(DASHES)],
        )
        for each, curve in zip(certificates, curves, strict=True)
    ]
    names = dict.fromkeys(name for name, *_ in references)
    for name, marker in zip(names, cycle(MARKERS), strict=False):
        xs, accuracies = zip(*(point for other, *point in references if other == name), strict=True)
        items.append(Published(xs, accuracies, name, marker))
    title = f"Certified accuracy under Gaussian noise ({_photographs(curves)})"
    figure = draw(items, x_label="Radius in ℓ2, in units of 1/255", title=title, steps=True)
    furthest = max(certificates, key=lambda each: each.radii.max())
    summary = (
        f"{title}: the largest certified radius is {max(0, furthest.radii.max()):.1f}/255 "
        f"({furthest.model}/{furthest.defence}, noise of {furthest.sigma:g}/255)"
    )
    return _chart(figure, curves, summary)


def training(*, states: Sequence[str]) -> Chart:
    """Accuracy by epoch, a panel a model.

    Args:
        states: files of trained models.
    """
    histories = [read_history(path) for path in states]
    names = ", ".join(history.model for history in histories)
    return Chart(
        training_chart(histories),
        TRAINING_COLUMNS,
        [row for history in histories for row in history.rows()],
        f"{len(histories)} models trained: {names}",
    )


def transfer(*, scores: Sequence[str]) -> Chart:
    """How often a universal perturbation made against one model fools another.

    Args:
        scores: score files of models on original images, and on those of perturbations made
            against each of them.

    Raises:
        UserError: a model has no image in common with the original ones.
    """
    cells = transferred.transfers(tables.read_results(scores))
    return Chart(
        heat_map(cells),
        transferred.COLUMNS,
        [cell.row for cell in cells],
        transferred.answer(cells),
    )


def _chart(figure: Figure, curves: Sequence[Curve], summary: str) -> Chart:
    return Chart(
        figure, curves[0].columns, [row for each in curves for row in each.rows()], summary
    )


def _photographs(curves: Sequence[Curve]) -> str:
    return f"{curves[0].results[0].photographs:,} photographs"


def _best(curves: Sequence[Curve]) -> tuple[Curve, float, Accuracy]:
    """The first of the highest accuracies, with its curve and its place along it."""
    points = [
        (curve, x, result)
        for curve in curves
        for x, result in zip(curve.xs, curve.results, strict=True)
    ]
    return max(points, key=lambda point: point[2].accuracy)
