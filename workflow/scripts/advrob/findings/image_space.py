"""How attacked images lie in image space: the numbers of the analysis, as tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from advrob.files import provenance, store
from advrob.files.identities import photograph
from advrob.findings.tables import Table, Value

# Numbers of components for which the table gives the share of the energy.
FIRST = (10, 100, 1000)
COLUMNS = ("model", "measure", "vectors", "where", "n", "mean", "deviation")
# What a measure of all images together has in the place of a deviation.
NOTHING = float("nan")


@dataclass(frozen=True)
class Analysis:
    """What `advrob.evaluation.vector_space` measured for one model.

    Attributes:
        model: the model's name.
        attacks: the attacks' names, a, the control last.
        spaces: s.
        defences: f.
        photographs: n, one image of each.
        numbers: d, in an image.
        values: the other arrays of the file, named and shaped as in `SCHEMAS`.
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
        params = provenance.params(file)
        return Analysis(
            model=params["model"],
            attacks=texts["attacks"],
            spaces=texts["spaces"],
            defences=texts["defences"],
            photographs=len(set(map(photograph, texts["ids"]))),
            numbers=params["numbers"],
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


def outside(cumulative: np.ndarray) -> str:
    """The share of the energy outside the components' span, in percent.

    Args:
        cumulative: shares of the energy along the first components, ``(k,)``.
    """
    # Rounding can leave less than nothing.
    return _percent(max(0.0, 1 - cumulative[-1]))


def sections(analysis: Analysis) -> list[Table]:
    """The tables of one model, one a question; all have the CSV columns `COLUMNS`."""
    return [_energy(analysis), _displacement(analysis), _retained(analysis), _normals(analysis)]


def rows(analysis: Analysis) -> list[Sequence[Value]]:
    """Rows of a CSV whose header is `COLUMNS`: means over images, and standard deviations.

    Measures of all images together have no deviation, written nan.
    """
    energy, displacement, retained, normals = sections(analysis)
    # What was measured of one attack stays together.
    attacks = sorted(
        (*displacement.rows, *retained.rows), key=lambda row: analysis.attacks.index(row[2])
    )
    return [*energy.rows, *attacks, *normals.rows]


def table_vector_space(files: Sequence[str]) -> Table:
    """The tables of several models.

    Args:
        files: the analyses, one a model.
    """
    return joined([read(path) for path in files])


def joined(analyses: Sequence[Analysis]) -> Table:
    """The tables of several models as one, whose parts are the models."""
    written = [row for analysis in analyses for row in rows(analysis)]
    return Table(
        columns=COLUMNS,
        rows=written,
        title="How attacked images lie in image space",
        header=(),
        lines=(),
        remark="",
        answer=f"{', '.join(analysis.model for analysis in analyses)}: {len(written)} rows",
        parts=[_model(analysis) for analysis in analyses],
    )


def _model(analysis: Analysis) -> Table:
    return Table(
        columns=COLUMNS,
        rows=(),
        title=f"{analysis.model}, {analysis.photographs:,} photographs",
        header=(),
        lines=(),
        remark="",
        parts=sections(analysis),
    )


def _energy(analysis: Analysis) -> Table:
    counts = [count for count in FIRST if count < analysis.components] + [analysis.components]
    return Table(
        columns=COLUMNS,
        rows=[
            (
                *(analysis.model, "energy", name, f"first {count} components"),
                *(analysis.photographs, cumulative[count - 1], NOTHING),
            )
            for name, cumulative in analysis.energies()
            for count in counts
        ],
        title="Energy along the principal components, %",
        header=("Vectors", *(f"first {count:,}" for count in counts), "outside"),
        lines=[
            (name, *(_percent(cumulative[count - 1]) for count in counts), outside(cumulative))
            for name, cumulative in analysis.energies()
        ],
        remark=f"The span has {analysis.components:,} of {analysis.numbers:,} dimensions. Of "
        f"vectors in random directions {_percent(analysis.components / analysis.numbers)} % of the "
        "energy is inside it. Originals are taken from the mean of the images that were fitted.",
    )


def _displacement(analysis: Analysis) -> Table:
    values = analysis.values
    rows: list[tuple[Value, ...]] = []
    lines = []
    for a, attack in enumerate(analysis.attacks):
        changed = values["changed"][a]
        rows.append((analysis.model, "changed", attack, "prediction", *_summary(changed)))
        for s, space in enumerate(analysis.spaces):
            rows += [
                (analysis.model, measure, attack, space, *_summary(values[measure][a, s]))
                for measure in ("l2", "linf", "relative", "angle")
            ]
            similarity = values["similarity"][a, s]
            rows.append(
                (
                    *(analysis.model, "similarity", attack, space),
                    *(analysis.photographs, similarity, NOTHING),
                )
            )
            l2, linf, relative, angle = (
                values[measure][a, s].mean() for measure in ("l2", "linf", "relative", "angle")
            )
            lines.append(
                (
                    *(attack, space, f"{l2:.4g}", f"{linf:.4g}", _percent(relative)),
                    *(f"{angle:.2f}", f"{similarity:z.3f}"),
                    # A prediction belongs to no space.
                    _percent(changed.mean()) if s == 0 else "",
                )
            )
    return Table(
        columns=COLUMNS,
        rows=rows,
        title="From the original to the attacked image",
        header=(
            *("Attack", "Space", "l_2", "l_inf", "l_2 of original's, %", "Angle, degrees"),
            *("Cosine between images", "Prediction changed, %"),
        ),
        lines=lines,
        remark="Means over the images. Pixels and components are in units of 1/255, from the "
        "fitted images' mean; features are what the network's last layer sees. The cosine is that "
        "between the perturbations of different images.",
    )


def _retained(analysis: Analysis) -> Table:
    values, measures = analysis.values, ("retained", "cosine")
    return Table(
        columns=COLUMNS,
        rows=[
            (analysis.model, measure, attack, defence, *_summary(values[measure][f, a]))
            for a, attack in enumerate(analysis.attacks)
            for f, defence in enumerate(analysis.defences)
            for measure in measures
        ],
        title="What a defence D leaves of a perturbation v",
        header=(
            "Defence",
            *(f"{attack}{what}" for attack in analysis.attacks for what in ("", ", cosine")),
        ),
        lines=[
            (
                defence,
                *(
                    f"{np.nanmean(values[measure][f, a]):z.3f}"
                    for a in range(len(analysis.attacks))
                    for measure in measures
                ),
            )
            for f, defence in enumerate(analysis.defences)
        ],
        remark="l_2 length of D(x + v) - D(x) as a share of v's, and its cosine with v. A "
        "stochastic defence draws the same numbers for both images.",
    )


def _normals(analysis: Analysis) -> Table:
    return Table(
        columns=COLUMNS,
        rows=[
            (analysis.model, measure, name, "pixels", len(spectrum), value, NOTHING)
            for name, spectrum in analysis.spectra()
            for measure, value in (
                ("largest singular value", spectrum[0]),
                ("smallest singular value", spectrum[-1]),
                ("dimensions", dimensions(spectrum)),
            )
        ],
        title="Normals to the decision boundary",
        header=("Vectors", "n", "Largest singular value", "Smallest", "As many dimensions"),
        lines=[
            (
                *(name, f"{len(spectrum)}", f"{spectrum[0]:.3f}", f"{spectrum[-1]:.3f}"),
                f"{dimensions(spectrum):,.0f}",
            )
            for name, spectrum in analysis.spectra()
        ],
        remark="Singular values of unit vectors, one an image. The last column is 1 over the mean "
        "squared cosine between those of different images: the number of dimensions in which "
        "random vectors are as alike.",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _summary(values: np.ndarray) -> tuple[int, float, float]:
    """How many values are numbers, their mean and their standard deviation."""
    numbers = values[np.isfinite(values)].astype(float)
    return len(numbers), float(numbers.mean()), float(numbers.std())
