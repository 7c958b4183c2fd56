"""Photographs that are there more than once: by their bytes, or encoded anew."""

import hashlib

import imagehash
import numpy as np
from PIL import Image

from advrob.errors import UserError
from advrob.images.photographs import Photograph

# A perceptual hash has this many bits, squared.
_SIDE = 16

# How many of the 256 bits may differ between a photograph and its copy. Among 3,000 photographs of
# Imagenette, the two most alike differed in 68; 120 of them, encoded anew in eight ways (JPEG of
# quality 30, a quarter of the size, other brightness ...), differed in at most 18.
_COPY = 32

# A hash says for each frequency whether it is above the median. Where fewer than about half are,
# the picture has hardly any content: all pictures of one colour are alike.
_FEWEST = 120


class Drawn:
    """Photographs that were drawn, and are not to be drawn again under whatever name.

    Only files of equal size are read.
    """

    def __init__(self) -> None:
        self.ids: set[str] = set()
        # The only photograph of its size, not read yet; None once it has been.
        self._unread: dict[int, Photograph | None] = {}
        self._by_content: dict[bytes, Photograph] = {}

    def add(self, photograph: Photograph) -> None:
        """Remember a photograph."""
        self.ids.add(photograph.id)
        size = photograph.size
        if size == 0:  # broken, and no other photograph
            return
        if size not in self._unread:
            self._unread[size] = photograph
        else:
            self._compare(size)
            self._remember(photograph)

    def twin(self, candidate: Photograph) -> Photograph | None:
        """The photograph with the same bytes, if any; one that cannot be read has no twin."""
        size = candidate.size
        if size not in self._unread:
            return None
        self._compare(size)
        content = _content(candidate)
        return self._by_content.get(content) if content else None

    def _compare(self, size: int) -> None:
        if (unread := self._unread[size]) is not None:
            self._remember(unread)
            self._unread[size] = None

    def _remember(self, photograph: Photograph) -> None:
        if content := _content(photograph):
            self._by_content.setdefault(content, photograph)


def _content(photograph: Photograph) -> bytes | None:
    try:
        return hashlib.blake2b(photograph.read()).digest()
    except UserError:
        return None


class Appearances:
    """How photographs look, to find those that were encoded anew."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._hashes: list[np.ndarray] = []
        self._table: np.ndarray | None = None

    def add(self, name: str, appearance: np.ndarray | None) -> None:
        """Remember what `appearance` gave for a photograph."""
        if appearance is not None:
            self._ids.append(name)
            self._hashes.append(appearance)
            self._table = None

    def match(self, appearance: np.ndarray | None) -> str | None:
        """The id of the photograph that looks the same, if any does."""
        if appearance is None or not self._ids:
            return None
        if self._table is None:
            self._table = np.stack(self._hashes, axis=1)
        return self._closest(self._table, appearance)

    def alike(self) -> list[tuple[str, str]]:
        """The ids of those that look the same as an earlier one, each with that one's."""
        if not self._ids:
            return []
        table = np.stack(self._hashes, axis=1)
        return [
            (name, earlier)
            for number, name in enumerate(self._ids[1:], 1)
            if (earlier := self._closest(table[:, :number], table[:, number]))
        ]

    def _closest(self, table: np.ndarray, appearance: np.ndarray) -> str | None:
        differences = np.bitwise_count(table ^ appearance[:, None]).sum(axis=0, dtype=np.int16)
        closest = int(differences.argmin())
        return self._ids[closest] if differences[closest] <= _COPY else None


def appearance(image: Image.Image) -> np.ndarray | None:
    """A perceptual hash: which low frequencies of the cosine transform are above their median.

    Returns:
        256 bits, uint64 ``(4,)``; None where a picture has too little in it to be recognised.
    """
    bits = imagehash.phash(image, hash_size=_SIDE).hash
    if bits.sum() < _FEWEST:
        return None
    return np.packbits(bits).view(np.uint64)
