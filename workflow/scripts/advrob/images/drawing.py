"""Seeded draws of photographs, so many of each class and none twice."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import chain, zip_longest

import numpy as np
import torch

from advrob.errors import UserError
from advrob.images import labels
from advrob.images.duplicates import Drawn
from advrob.images.photographs import Classes, Draw, Photograph
from advrob.job.compute import generator


@dataclass
class Choice:
    """What was drawn.

    Attributes:
        photographs: one of each class in turn.
        drawn: the same, for another draw to leave out.
        duplicates: photographs that were left out, each with the one that has the same bytes.
    """

    photographs: list[Photograph] = field(default_factory=list)
    drawn: Drawn = field(default_factory=Drawn)
    duplicates: list[tuple[Photograph, Photograph]] = field(default_factory=list)


def choose(classes: Classes, draw: Draw, name: str, seed: int, excluded: Drawn) -> Choice:
    """Draw photographs; which ones depends on the seed and on their ids, not on any listing.

    Args:
        classes: the candidates by class.
        draw: how many of each class, and which first.
        name: ``test`` or ``fit``.
        seed: the configured seed.
        excluded: the photographs of the other part, which are not drawn again.

    Returns:
        The choice. Where photographs were left out and their class has no others, it has fewer
        than were asked for; where all of them are in the other part, it is empty.

    Raises:
        UserError: there are fewer than were asked for.
    """
    ordered = {}
    for label, candidates in sorted(classes.items()):
        free = sorted((c for c in candidates if c.id not in excluded.ids), key=lambda c: c.id)
        drawing = generator(seed, "images", name, label)
        shuffled = [free[i] for i in torch.randperm(len(free), generator=drawing).tolist()]
        shuffled.sort(key=lambda c: _rank(c, draw.prefer))
        ordered[label] = shuffled
    choice = Choice()
    if not any(ordered.values()):
        return choice
    selections: list[list[Photograph]] = []
    for candidates, quota in zip(ordered.values(), _quotas(ordered, draw, name, seed), strict=True):
        selected: list[Photograph] = []
        for candidate in candidates:
            if len(selected) == quota:
                break
            if twin := excluded.twin(candidate) or choice.drawn.twin(candidate):
                choice.duplicates.append((candidate, twin))
            else:
                choice.drawn.add(candidate)
                selected.append(candidate)
        selections.append(selected)
    in_turn = chain.from_iterable(zip_longest(*selections))
    choice.photographs = [photograph for photograph in in_turn if photograph is not None]
    return choice


def _rank(photograph: Photograph, patterns: Sequence[str]) -> int:
    """The position of the first pattern that fits a photograph; their number if none does."""
    names = (photograph.id, photograph.id.rpartition("/")[2])
    for rank, pattern in enumerate(patterns):
        if any(fnmatchcase(name, pattern) for name in names):
            return rank
    return len(patterns)


def _quotas(classes: Classes, draw: Draw, name: str, seed: int) -> list[int]:
    """How many photographs to take of each class."""
    available = np.array([len(candidates) for candidates in classes.values()])
    if draw.per_class is not None and draw.total is not None:
        raise UserError(
            f"images.{name}: has both per_class and total. Keep one of them, or neither to use "
            "every photograph."
        )
    if draw.per_class is not None:
        for label, count in zip(classes, available, strict=True):
            if count < draw.per_class:
                title = labels.classes()[label] if label >= 0 else "of the unlabelled photographs"
                raise UserError(
                    f"images.{name}.per_class: {draw.per_class} photographs per class are "
                    f"requested, but class {title} has {count}. Lower per_class, add photographs, "
                    "or use total, which takes what each class has."
                )
        return [draw.per_class] * len(available)
    if draw.total is None:
        return list(available)
    if draw.total > available.sum():
        raise UserError(
            f"images.{name}.total: {draw.total} photographs are requested, but there are only "
            f"{available.sum()}. Lower total, leave it out to take them all, or add photographs or "
            "splits."
        )
    # The highest level to which all classes can be filled, and what is left over at random.
    levels = range(available.max() + 1)
    level = max(n for n in levels if np.minimum(available, n).sum() <= draw.total)
    quotas = np.minimum(available, level)
    fuller = np.flatnonzero(available > level)
    drawing = generator(seed, "images", name, "remainder")
    lucky = torch.randperm(len(fuller), generator=drawing).numpy()[: draw.total - quotas.sum()]
    quotas[fuller[lucky]] += 1
    return list(quotas)
