"""The 1000 classes of ImageNet-1k: indices, WordNet ids and readable names."""

import difflib
import functools

from advrob.errors import UserError

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
        nearest = difflib.get_close_matches(wordnet_id, ids, n=1, cutoff=0)[0]
        raise UserError(
            f"'{wordnet_id}' is not a WordNet id of ImageNet-1k. Expected one of its 1000 ids, "
            f"such as {nearest}. Correct the name or remove the entry."
        )
    return indices[wordnet_id]


def parse(text: str) -> int:
    """The class that a label file means: an index from 0 to 999, or a WordNet id.

    Raises:
        UserError: neither.
    """
    text = text.strip()
    if not text.isdecimal():
        return index(text)
    if int(text) >= len(_table()[0]):
        raise UserError(
            f"label {text} is not a class of ImageNet-1k. Expected an index from 0 to 999, counted "
            "from 0 in the order of the WordNet ids, or a WordNet id such as n01440764."
        )
    return int(text)
