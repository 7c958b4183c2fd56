"""Rows of photographs, each labelled with the class that a network predicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from advrob.figures.plotting import CORRECT, GREY, WRONG
from advrob.files import identities, provenance, store
from advrob.findings import paper
from advrob.findings.tables import Result

# Pictures are shown at one image pixel a printed pixel: nothing is resampled.
DPI = 150
NORMS = {"linf": "ℓ∞", "l2": "ℓ2"}


@dataclass(frozen=True)
class Picture:
    """An image and the class that a network predicts, or a caption.

    Attributes:
        image: 8-bit ``(H, W, 3)``.
        name: the predicted class, or any caption.
        confidence: the softmax probability of that class; None with a caption.
        correct: whether that class is the image's label.
    """

    image: np.ndarray
    name: str
    confidence: float | None = None
    correct: bool = False


@dataclass(frozen=True)
class Pairs:
    """Some photographs before and after an attack, with an undefended model's predictions.

    Attributes:
        original: 8-bit images ``(K, H, W, 3)``.
        attacked: the same images after the attack.
        labels: their classes, ``(K,)``.
        classes: short names of all classes.
        before: predicted classes and confidences of ``original``, each ``(K,)``.
        after: the same for ``attacked``.
        dataset: the name of the attacked data set.
        model: the model's name.
    """

    original: np.ndarray
    attacked: np.ndarray
    labels: np.ndarray
    classes: list[str]
    before: tuple[np.ndarray, np.ndarray]
    after: tuple[np.ndarray, np.ndarray]
    dataset: str
    model: str

    def pictures(
        self, images: np.ndarray, predicted: np.ndarray, confidence: np.ndarray
    ) -> list[Picture]:
        """A column of the figure: versions ``(K, H, W, 3)`` of the photographs."""
        return [
            Picture(image, self.classes[guess], float(sure), bool(guess == label))
            for image, guess, sure, label in zip(
                images, predicted, confidence, self.labels, strict=True
            )
        ]

    def changes(self) -> list[Picture]:
        """What the attack added, magnified until the largest change is black or white."""
        difference = self.attacked.astype(np.int16) - self.original
        radius = max(int(abs(difference).max()), 1)
        name = f"difference × {127.5 / radius:.3g}"
        return [Picture(image, name) for image in magnify(difference, radius)]

    def names(self) -> list[str]:
        """The true classes."""
        return [self.classes[label] for label in self.labels]


def read_pairs(
    original: str, attacked: str, scores_original: str, scores_attacked: str, count: int
) -> Pairs:
    """Choose photographs on which the attack works and read them.

    Args:
        original: an images file.
        attacked: the same images after an attack.
        scores_original: an undefended model's scores on ``original``.
        scores_attacked: and on ``attacked``.
        count: photographs to show; fewer if there are fewer.

    Raises:
        UserError: the four files are not about the same images.
    """
    with store.read(original, "images/1") as file:
        ids, labels = store.strings(file["ids"]), file["labels"][:]
        classes = [name.partition(" ")[2] for name in store.strings(file["classes"])]
    scores = []
    for path in (scores_original, scores_attacked):
        with store.read(path, "scores/1") as file:
            store.check_ids(path, store.strings(file["ids"]), original, ids)
            scores.append({name: file[name][:] for name in ("predicted", "confidence", "correct")})
            params = provenance.params(file)
    fooled = scores[0]["correct"] & ~scores[1]["correct"]
    rows = choose(fooled, labels, ids, count)
    images = []
    for path in (original, attacked):
        with store.read(path, "images/1") as file:
            store.check_ids(path, store.strings(file["ids"]), original, ids)
            images.append(np.stack([file["images"][row] for row in rows]))
    before, after = ((score["predicted"][rows], score["confidence"][rows]) for score in scores)
    return Pairs(
        original=images[0],
        attacked=images[1],
        labels=labels[rows],
        classes=classes,
        before=before,
        after=after,
        dataset=params["dataset"],
        model=params["model"],
    )


def choose(preferred: np.ndarray, labels: np.ndarray, ids: Sequence[str], count: int) -> np.ndarray:
    """Indices of up to ``count`` images, of different photographs.

    Preferred images come first; among these, and among the others, the first of each class before
    the second; otherwise in the order given.

    Args:
        preferred: bool ``(N,)``.
        labels: classes, ``(N,)``.
        ids: the images' ids.
        count: how many.
    """
    seen: set[str] = set()
    drawn: dict[tuple[bool, int], int] = {}
    ranks = []
    for index in np.argsort(~preferred, kind="stable"):
        photograph = identities.photograph(ids[index])
        if photograph not in seen:
            seen.add(photograph)
            group = bool(preferred[index]), int(labels[index])
            drawn[group] = drawn.get(group, 0) + 1
            ranks.append((not preferred[index], drawn[group], index))
    return np.array([index for *_, index in sorted(ranks)[:count]], dtype=int)


def magnify(difference: np.ndarray, radius: float) -> np.ndarray:
    """A perturbation as 8-bit pictures: grey where it is zero, black or white at the radius.

    Args:
        difference: ``(..., 3)`` in units of 1/255.
        radius: what becomes black and white, in units of 1/255, above zero.
    """
    shown = np.clip(np.asarray(difference, np.float32) / (2 * radius) + 0.5, 0, 1)
    return np.rint(255 * shown).astype(np.uint8)


def caption(name: str, params: Mapping[str, Any]) -> str:
    """A perturbation's name, norm, radius and, where it was made here, fooling rates."""
    size = f"{NORMS[params['norm']]} radius {params['radius']:g}/255"
    # Of a targeted one, the images that are taken for the target.
    rate = "hit_rate" if "hit_rate" in params else "fooling_rate"
    rates = [100 * params[f"{rate}{on}"] for on in ("", "_held_out") if rate in params]
    what = "hits" if rate == "hit_rate" else "fools"
    fools = what + " {:.0f} %, held out {:.0f} %".format(*rates) if rates else ""
    return "\n".join((*name.split("-", 1), size, fools))


def grid(rows: Sequence[Sequence[Picture]], columns: Sequence[str], names: Sequence[str]) -> Figure:
    """Pictures in rows and columns, to be saved at `DPI`.

    Args:
        rows: the pictures.
        columns: the heading of each column.
        names: the heading of each row, such as the true class.
    """
    height, width = (side / DPI for side in rows[0][0].image.shape[:2])
    # Inches: between pictures, for a label below one, at the left and at the top; whole pixels.
    lines = max(picture.name.count("\n") + 1 for pictures in rows for picture in pictures)
    headings = max(column.count("\n") + 1 for column in columns) if any(columns) else 0
    gap, label, left, top = (
        pixels / DPI for pixels in (12, 15 + 18 * lines, 36 if any(names) else 4, 8 + 22 * headings)
    )
    size = (
        left + len(columns) * (width + gap),
        top + len(rows) * (height + label),
    )
    figure = Figure(figsize=size)
    for line, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            x = left + column * (width + gap)
            y = size[1] - top - line * (height + label) - height
            axes = figure.add_axes(
                (x / size[0], y / size[1], width / size[0], height / size[1]), frameon=False
            )
            show(axes, picture)
            if line == 0:
                axes.set_title(columns[column], fontsize=8, pad=4)
            if column == 0:
                axes.set_ylabel(shorten(names[line], 28, placeholder="…"), fontsize=8, labelpad=3)
    return figure


def show(axes: Axes, picture: Picture) -> None:
    """Draw a picture with its label below."""
    axes.set(xticks=[], yticks=[])
    axes.imshow(picture.image, interpolation="none")
    axes.set_xlabel(_label(picture), labelpad=3, **_look(picture))


def heading(result: Result) -> str:
    """A column's heading: what it shows, and the accuracy on all images beside the paper's."""
    kind = "original" if result.dataset == "original" else "attacked"
    behind = "" if result.defence == "none" else f", {result.defence}"
    images = "original" if result.dataset == "original" else "universal"
    published = paper.TABLE_1.get((images, result.defence))
    beside = "" if published is None else f" (paper {100 * published:.2f} %)"
    return f"{kind}{behind}\n{100 * result.accuracy.accuracy:.1f} %{beside}"


def _label(picture: Picture) -> str:
    if picture.confidence is None:
        return picture.name
    mark = "✓" if picture.correct else "✗"
    return f"{mark} {shorten(picture.name, 22, placeholder='…')}, {100 * picture.confidence:.0f} %"


def _look(picture: Picture) -> dict[str, Any]:
    # Right and wrong differ by mark and weight as well as by colour.
    if picture.confidence is None:
        return {"fontsize": 7, "color": GREY}
    weight = "bold" if picture.correct else "normal"
    return {"fontsize": 7, "color": CORRECT if picture.correct else WRONG, "fontweight": weight}
