"""The table and the figure of how attacked images lie in image space."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from advrob.figures import plotting
from advrob.figures.plotting import COLOURS, GREY, LIGHT
from advrob.files import identities, store
from advrob.findings import tables

# Numbers of components for which the table gives the share of the energy.
FIRST = (10, 100, 1000)
# At most so many points of a curve over thousands of components are drawn.
POINTS = 200
# The originals, and attacks in the file's order, the control last.
ORIGINAL = "#000000"

COLUMNS = ("model", "measure", "vectors", "where", "n", "mean", "deviation")
POINT_COLUMNS = ("panel", "series", "x", "value", "low", "high")

Row = tuple[str, str, str, str, int, float, float]
Point = tuple[str, str, str | int, float, float, float]


@dataclass(frozen=True)
class Analysis:
    """What `advrob.evaluation.vector_space` found for one model.

    Attributes:
        model: the model's name.
        attacks: the attacks' names, a.
        spaces: s.
        defences: f.
        photographs: n, one image of each.
        numbers: d, in an image.
        values: the other arrays of the file, named and shaped as in `store.SCHEMAS`.
    """

    model: str
    attacks: Sequence[str]
    spaces: Sequence[str]
    defences: Sequence[str]
    photographs: int
    numbers: int
    values: Mapping[str, np.ndarray]

    @property
    def components(self) -> int:
        """How many components the space of the principal components has."""
        return len(self.values["energy_original"])

    def energies(self) -> Iterator[tuple[str, np.ndarray]]:
        """The originals and the attacks, each with its cumulative shares of energy, ``(k,)``."""
        shares = (self.values["energy_original"], *self.values["energy"])
        for name, share in zip(("original", *self.attacks), shares, strict=True):
            yield name, np.cumsum(share)

    def spectra(self) -> Iterator[tuple[str, np.ndarray]]:
        """Normals and random vectors, each with its singular values, ``(m,)``."""
        yield "normals", self.values["singular_normals"]
        yield "random unit vectors", self.values["singular_random"]


def read(path: str) -> Analysis:
    """Read the file of one model."""
    with store.read(path, "vector_space/1") as file:
        texts = {
            name: store.strings(file[name]) for name in ("attacks", "spaces", "defences", "ids")
        }
        made = store.params(file)
        return Analysis(
            model=made["model"],
            attacks=texts["attacks"],
            spaces=texts["spaces"],
            defences=texts["defences"],
            photographs=len(set(map(identities.photograph, texts["ids"]))),
            numbers=made["numbers"],
            values={name: item[:] for name, item in file.items() if name not in texts},
        )


def dimensions(spectrum: np.ndarray) -> float:
    """In how many dimensions unit vectors are as alike as these: 1 / their mean squared cosine.

    1 if they are equal but for signs; for random vectors, about as many as they have numbers.

    Args:
        spectrum: the singular values of m unit vectors, ``(m,)``. Their fourth powers sum to m and
            the squared cosines between all ordered pairs of different vectors.
    """
    m = len(spectrum)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.divide(m * (m - 1), (spectrum**4).sum() - m))


def rows(found: Analysis) -> list[Row]:
    """Rows of a CSV whose header is `COLUMNS`: means over images, and standard deviations.

    Measures of all images together have no deviation, written nan.
    """
    model, n, values = found.model, found.photographs, found.values
    none = float("nan")
    table: list[Row] = []
    for name, cumulative in found.energies():
        table += [
            (model, "energy", name, f"first {count} components", n, cumulative[count - 1], none)
            for count in _counts(found)
        ]
    for a, attack in enumerate(found.attacks):
        table.append((model, "changed", attack, "prediction", *_summary(values["changed"][a])))
        for s, space in enumerate(found.spaces):
            table += [
                (model, measure, attack, space, *_summary(values[measure][a, s]))
                for measure in ("l2", "linf", "relative", "angle")
            ]
            table.append((model, "similarity", attack, space, n, values["similarity"][a, s], none))
        for f, defence in enumerate(found.defences):
            table += [
                (model, measure, attack, defence, *_summary(values[measure][f, a]))
                for measure in ("retained", "cosine")
            ]
    for name, spectrum in found.spectra():
        table += [
            (model, measure, name, "pixels", len(spectrum), value, none)
            for measure, value in (
                ("largest singular value", spectrum[0]),
                ("smallest singular value", spectrum[-1]),
                ("dimensions", dimensions(spectrum)),
            )
        ]
    return table


def write_table(
    analyses: Sequence[Analysis], *, csv_path: str, markdown_path: str, note: str | None
) -> str:
    """Write the table in both forms and return the sentence that describes it."""
    table = [row for found in analyses for row in rows(found)]
    with store.replacing(csv_path) as temporary:
        tables.write_csv(temporary, COLUMNS, table)
    parts = ["# How attacked images lie in image space"]
    for found in analyses:
        parts += _sections(found)
    text = "\n\n".join((*parts, note) if note else parts)
    with store.replacing(markdown_path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return f"{', '.join(found.model for found in analyses)}: {len(table)} rows"


def _sections(found: Analysis) -> Iterator[str]:
    """The Markdown of one model: a heading, and a table with a remark for each question."""
    counts, values = _counts(found), found.values
    yield f"## {found.model}, {found.photographs:,} photographs"

    yield "### Energy along the principal components, %"
    yield tables.markdown(
        ("Vectors", *(f"first {count:,}" for count in counts), "outside"),
        [
            (name, *(_percent(cumulative[count - 1]) for count in counts), _rest(cumulative))
            for name, cumulative in found.energies()
        ],
    )
    yield (
        f"The span has {found.components:,} of {found.numbers:,} dimensions. Of vectors in random "
        f"directions {_percent(found.components / found.numbers)} % of the energy is inside it. "
        "Originals are taken from the mean of the images that were fitted."
    )

    yield "### From the original to the attacked image"
    yield tables.markdown(
        (
            *("Attack", "Space", "l_2", "l_inf", "l_2 of original's, %", "Angle, degrees"),
            *("Cosine between images", "Prediction changed, %"),
        ),
        [
            (
                *(attack, space, f"{values['l2'][a, s].mean():.4g}"),
                *(f"{values['linf'][a, s].mean():.4g}", _percent(values["relative"][a, s].mean())),
                f"{values['angle'][a, s].mean():.2f}",
                f"{values['similarity'][a, s]:z.3f}",
                _percent(values["changed"][a].mean()) if s == 0 else "",
            )
            for a, attack in enumerate(found.attacks)
            for s, space in enumerate(found.spaces)
        ],
    )
    yield (
        "Means over the images. Pixels and components are in units of 1/255, from the fitted "
        "images' mean; features are what the network's last layer sees. The cosine is that between "
        "the perturbations of different images."
    )

    yield "### What a defence D leaves of a perturbation v"
    yield tables.markdown(
        ("Defence", *(f"{attack}{what}" for attack in found.attacks for what in ("", ", cosine"))),
        [
            (
                defence,
                *(
                    f"{np.nanmean(values[measure][f, a]):z.3f}"
                    for a in range(len(found.attacks))
                    for measure in ("retained", "cosine")
                ),
            )
            for f, defence in enumerate(found.defences)
        ],
    )
    yield (
        "l_2 length of D(x + v) - D(x) as a share of v's, and its cosine with v. A stochastic "
        "defence draws the same numbers for both images."
    )

    yield "### Normals to the decision boundary"
    yield tables.markdown(
        ("Vectors", "n", "Largest singular value", "Smallest", "As many dimensions"),
        [
            (
                *(name, f"{len(spectrum)}", f"{spectrum[0]:.3f}", f"{spectrum[-1]:.3f}"),
                f"{dimensions(spectrum):,.0f}",
            )
            for name, spectrum in found.spectra()
        ],
    )
    yield (
        "Singular values of unit vectors, one an image. The last column is 1 over the mean squared "
        "cosine between those of different images: the number of dimensions in which random "
        "vectors are as alike."
    )


def points(found: Analysis) -> list[Point]:
    """What the figure draws, rows of a CSV whose header is `POINT_COLUMNS`.

    ``low`` and ``high`` are quartiles over the images, beside the median; nan where there are none.
    """
    none = float("nan")
    drawn: list[Point] = []
    steps = np.geomspace(1, found.components, POINTS).round().astype(int)
    for name, cumulative in found.energies():
        drawn += [
            ("energy", name, int(count), cumulative[count - 1], none, none)
            for count in np.unique(steps)
        ]
    for name, spectrum in found.spectra():
        drawn += [
            ("singular values", name, index, value, none, none)
            for index, value in enumerate(spectrum, start=1)
        ]
    for a, attack in enumerate(found.attacks):
        drawn += [
            ("relative", attack, space, *_quartiles(found.values["relative"][a, s]))
            for s, space in enumerate(found.spaces)
        ]
        drawn += [
            ("retained", attack, defence, *_quartiles(found.values["retained"][f, a]))
            for f, defence in enumerate(found.defences)
        ]
    return drawn


def chart(found: Analysis, drawn: Sequence[Point]) -> Figure:
    """Four panels: energy, normals, distances, defences.

    Args:
        found: names and counts for the labels.
        drawn: its `points`.
    """
    figure = Figure(figsize=(plotting.WIDTH, 6.6), layout="constrained")
    energy, normals, distance, defence = figure.subplots(2, 2).flat
    colours = {"original": ORIGINAL, **dict(zip(found.attacks, COLOURS, strict=False))}
    rest = {name: _rest(cumulative) for name, cumulative in found.energies()}
    for name, colour in colours.items():
        x, y, *_ = _series(drawn, "energy", name)
        energy.plot(x, 100 * y, color=colour, label=f"{name}, {rest[name]} % outside")
    energy.set(
        title="Energy along the principal components",
        xlabel="Number of components",
        ylabel="Share of the energy, %",
        xscale="log",
        yscale="log",
        ylim=(100 / found.numbers, 150),
    )
    expected = 100 * np.array([1, found.components]) / found.numbers
    energy.plot((1, found.components), expected, ":", color=GREY, label="random directions, mean")
    energy.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=7)

    for (name, _), colour in zip(found.spectra(), (COLOURS[3], GREY), strict=True):
        x, y, *_ = _series(drawn, "singular values", name)
        normals.plot(x, y, color=colour, label=name)
    normals.set(
        title="Unit normals to the decision boundary",
        xlabel="Index",
        ylabel="Singular value",
    )
    normals.legend()

    _dots(distance, drawn, "relative", found.attacks, colours)
    distance.set(
        title="Distance of attacked from original images",
        ylabel="ℓ2 as a share of the original's",
        yscale="log",
    )
    _dots(defence, drawn, "retained", found.attacks, colours)
    defence.set(
        title="What a defence leaves of a perturbation",
        ylabel="ℓ2 as a share of the perturbation's",
    )
    defence.set_ylim(0, None)
    distance.legend()
    for axes in (energy, normals, distance, defence):
        axes.grid(axis="y", color=LIGHT, linewidth=0.5)
        axes.set_axisbelow(True)
    figure.suptitle(f"{found.model}, {found.photographs:,} photographs", fontsize=9)
    return figure


def _dots(
    axes: Axes,
    drawn: Sequence[Point],
    panel: str,
    attacks: Sequence[str],
    colours: Mapping[str, str],
) -> None:
    """Medians and quartiles side by side over names."""
    for index, attack in enumerate(attacks):
        names, value, low, high = _series(drawn, panel, attack)
        shift = 0.2 * (index - (len(attacks) - 1) / 2)
        bars = np.stack((value - low, high - value))
        axes.errorbar(
            np.arange(len(names)) + shift, value, bars, fmt="o", color=colours[attack], label=attack
        )
    axes.set_xticks(range(len(names)), names, rotation=20 if len(names) > 3 else 0)


def _series(drawn: Iterable[Point], panel: str, series: str) -> tuple[np.ndarray, ...]:
    """Columns x, value, low and high of one series."""
    chosen = [point[2:] for point in drawn if point[:2] == (panel, series)]
    return tuple(np.array(column) for column in zip(*chosen, strict=True))


def _counts(found: Analysis) -> list[int]:
    return [count for count in FIRST if count < found.components] + [found.components]


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _rest(cumulative: np.ndarray) -> str:
    # Rounding can leave less than nothing.
    return _percent(max(0.0, 1 - cumulative[-1]))


def _summary(values: np.ndarray) -> tuple[int, float, float]:
    """How many values are numbers, their mean and their standard deviation."""
    numbers = values[np.isfinite(values)].astype(float)
    return len(numbers), float(numbers.mean()), float(numbers.std())


def _quartiles(values: np.ndarray) -> tuple[float, float, float]:
    """The median and the quartiles around it, of the values that are numbers."""
    low, median, high = np.nanquantile(values, (0.25, 0.5, 0.75))
    return float(median), float(low), float(high)
