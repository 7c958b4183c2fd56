"""The 1000 classes of ImageNet-1k: indices, WordNet ids and readable names."""

import functools
import re
from collections import defaultdict
from collections.abc import Iterable

from advrob.errors import UserError
from advrob.plan.errors import nearest_names

UNLABELLED = -1


@functools.cache
def _table() -> tuple[list[str], dict[str, int], list[str]]:
    # Imported late: it takes seconds, and most jobs need no labels.
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    ids = info.label_names()
    names = [description.split(",")[0] for description in info.label_descriptions()]
    return ids, {wordnet_id: index for index, wordnet_id in enumerate(ids)}, names


def wordnet_ids() -> list[str]:
    """The WordNet ids of the 1000 classes in the order of ImageNet-1k, such as ``n01440764``."""
    return list(_table()[0])


def names() -> list[str]:
    """A short name for each class, such as ``tench``: the first lemma of its WordNet entry.

    Names are for reading: two classes are called "crane", and two "maillot".
    """
    return list(_table()[2])


def classes() -> list[str]:
    """WordNet id and name of each class, such as ``n01440764 tench``, as image files store them."""
    ids, _, short = _table()
    return [f"{wordnet_id} {name}" for wordnet_id, name in zip(ids, short, strict=True)]


def index(wordnet_id: str) -> int:
    """The class of a WordNet id, 0 to 999.

    Raises:
        UserError: no class of ImageNet-1k has this id.
    """
    ids, indices, _ = _table()
    if wordnet_id not in indices:
        nearest = nearest_names(wordnet_id, ids, alike=0)[0]
        raise UserError(
            f"'{wordnet_id}' is not a WordNet id of ImageNet-1k. Expected one of its 1000 ids, "
            f"such as {nearest}. Correct the name or remove the entry."
        )
    return indices[wordnet_id]


def parse(text: str) -> int:
    """The class that a label or the name of a folder means.

    Args:
        text: an index from 0 to 999; a WordNet id, whatever follows it (``n02102040-springer``); or
            a name of the class in WordNet, in any case, with spaces, hyphens or underscores.

    Raises:
        UserError: it is none of them, or a name that two classes share.
    """
    text = text.strip()
    if text.isdecimal():
        return _parse_index(text)
    if wordnet_id := re.match(r"n\d{8}(?!\d)", text):
        return index(wordnet_id[0])
    for lookup in _lookups():
        matches = lookup.get(_plain(text), [])
        if len(matches) == 1:
            return matches[0]
        if matches:
            ids = _table()[0]
            raise UserError(
                f"'{text}' is a name of {len(matches)} classes of ImageNet-1k. Expected one class: "
                f"write its WordNet id, {' or '.join(ids[label] for label in matches)}."
            )
    if re.match(r"n\d+$", text):
        return index(text)
    excerpt = text if len(text) <= 60 else f"{text[:60]}..."
    nearest = nearest_names(_plain(excerpt), _lookups()[1])
    hint = f"; the nearest name is '{nearest[0]}'" if nearest else ""
    raise UserError(
        f"'{excerpt}' is not a class of ImageNet-1k. Expected an index from 0 to 999, a WordNet id "
        f"such as n01440764, or a class's name such as tench{hint}."
    )


def _parse_index(text: str) -> int:
    # Python refuses to parse thousands of digits.
    if len(text) > 9 or int(text) >= len(_table()[0]):
        raise UserError(
            f"label {text[:20]}{'...' if len(text) > 20 else ''} is not a class of ImageNet-1k. "
            "Expected an index from 0 to 999, counted from 0 in the order of the WordNet ids, or a "
            "WordNet id such as n01440764."
        )
    return int(text)


@functools.cache
def _lookups() -> tuple[dict[str, list[int]], ...]:
    """Classes by first name, by any name, and by all names in one text; each in plain spelling."""
    from timm.data import ImageNetInfo

    descriptions = ImageNetInfo("imagenet-1k").label_descriptions()
    lemmas = [description.split(",") for description in descriptions]
    return (
        _grouped([names[:1] for names in lemmas]),
        _grouped(lemmas),
        _grouped([[description] for description in descriptions]),
    )


def _grouped(classes: Iterable[list[str]]) -> dict[str, list[int]]:
    grouped = defaultdict(list)
    for label, texts in enumerate(classes):
        for text in dict.fromkeys(map(_plain, texts)):
            grouped[text].append(label)
    return dict(grouped)


def _plain(text: str) -> str:
    return " ".join(re.split(r"[\s_-]+", text.casefold().strip()))
