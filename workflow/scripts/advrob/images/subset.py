"""The subset: seeded draws of photographs, decoded into one file to test and one to fit."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import h5py
import numpy as np
import torch

from advrob.errors import UserError
from advrob.files import sharding, store
from advrob.images import labels
from advrob.images.decode import centre_crop, decode, random_crop
from advrob.images.photographs import Classes, Draw, Photograph
from advrob.images.sources import find
from advrob.job.compute import generator
from advrob.job.progress import progress

T = TypeVar("T")
R = TypeVar("R")

# Photographs decoded and written at a time.
_BLOCK = 64


@dataclass
class Made:
    """What a file of images was made of.

    Attributes:
        images: its rows.
        labels: the class of each photograph in it.
        skipped: photographs that should be in it, but cannot be decoded.
        duplicates: photographs passed over because the other file has the same bytes.
    """

    images: int
    labels: list[int]
    skipped: int
    duplicates: int


class Drawn:
    """Photographs that were drawn, and are not to be drawn again under whatever name."""

    def __init__(self, photographs: Iterable[Photograph] = ()) -> None:
        self.ids: set[str] = set()
        self._by_size: dict[int, list[Photograph]] = defaultdict(list)
        for photograph in photographs:
            self.ids.add(photograph.id)
            self._by_size[photograph.size].append(photograph)

    def has_bytes_of(self, candidate: Photograph) -> bool:
        """Whether one of them is the same file; one that cannot be read is like no other."""
        # Few files have a size in common: hardly any is read for this.
        with suppress(OSError):
            return any(
                photograph.read() == candidate.read()
                for photograph in self._by_size.get(candidate.size, ())
            )
        return False


def extract(
    *,
    test: str | Path,
    fit: str | Path,
    root: str | None,
    settings: Mapping[str, Any],
    seed: int,
    shard: str = sharding.WHOLE,
) -> str:
    """Draw the subset and write it: images to test networks on, and others to fit defences to.

    No photograph is in both, by id or by its bytes. Rows alternate between the classes, so that the
    first rows of a file are a balanced subset as well. Several crops of a photograph follow each
    other and are called ``id#0``, ``id#1``, ...; the first is the standard evaluation crop.

    Args:
        test: the file of schema ``images/1`` to make for testing.
        fit: the one for fitting.
        root: the configured ``images_root``.
        settings: the configuration's ``images``: ``size`` (side in pixels), ``layout``, ``broken``
            (``error`` or ``skip``), and ``test`` and ``fit`` with the attributes of `Draw`.
        seed: the configured seed.
        shard: the share of both files to make; see `advrob.files.sharding`. Each draws the whole
            subset again, which takes as long as waiting for somebody else to have drawn it.

    Returns:
        A sentence that counts what was made.

    Raises:
        UserError: the configuration does not fit what is there, or a photograph cannot be decoded.
    """
    tested, drawn = _make("test", test, Drawn(), root, settings, seed, shard)
    fitted, _ = _make("fit", fit, drawn, root, settings, seed, shard)
    return (
        f"{tested.images} test images of {len(set(tested.labels))} classes and {fitted.images} fit "
        f"images; {tested.skipped + fitted.skipped} skipped, {fitted.duplicates} duplicates dropped"
    )


def load(
    layout: str, root: str | None = None, *, size: int = 224, seed: int = 0, **draw: Any
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Draw labelled photographs into memory: for work without the workflow.

    They are drawn and cropped as `extract` does for testing.

    Args:
        layout: ``packages``, ``tree``, ``imagenet`` or ``table``; see `advrob.images.sources`.
        root: the folder or archive that holds them, but for packages.
        size: the images' side in pixels.
        seed: of the draw.
        draw: the attributes of `Draw`.

    Returns:
        8-bit images ``(N, size, size, 3)``, their classes, int64 ``(N,)``, and their ids.

    Raises:
        UserError: the photographs are not there, have no labels, or one cannot be decoded.
    """
    settings = {"size": size, "layout": layout, "broken": "error", "test": draw}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "images.h5"
        _make("test", path, Drawn(), root, settings, seed, sharding.WHOLE)
        with store.read(path, "images/1") as file:
            return file["images"][:], file["labels"][:], store.strings(file["ids"])


def _make(
    name: str,
    path: str | Path,
    other: Drawn,
    root: str | None,
    settings: Mapping[str, Any],
    seed: int,
    shard: str,
) -> tuple[Made, Drawn]:
    """Write one part of the subset, of photographs that the other part does not hold.

    Returns:
        What was made of the shard, and what was drawn for the whole part.
    """
    layout, draw = settings["layout"], Draw(**settings[name])
    with ExitStack() as files:
        classes = find(layout, root, draw, files)
        if name == "test" and labels.UNLABELLED in classes:
            raise UserError(
                f"images.test: {classes[labels.UNLABELLED][0].id} has no label. Expected labelled "
                "photographs to test on. Give its entry a label pattern, or move it to images.fit."
            )
        photographs, duplicates = choose(classes, draw, name, seed, other)
        if not photographs:
            raise UserError(
                f"images.{name}: no photograph is left to draw: all that were found are in the "
                "other part. Name other splits, packages or a smaller draw there."
            )
        drawn = Drawn(photographs)
        params = {key: settings[key] for key in ("size", "layout", "broken", name)} | {
            "drawn": len(photographs),
            "duplicates": duplicates,
        }
        own = photographs[sharding.part(shard, len(photographs))]
        source = _source(layout, root, draw)
        with store.write(path, "images/1", seed=seed, params=params, source=source) as file:
            decoded, images = _fill(file, own, draw.crops, settings, seed)
    return Made(images, decoded, len(own) - len(decoded), duplicates), drawn


def choose(
    classes: Classes, draw: Draw, name: str, seed: int, other: Drawn
) -> tuple[list[Photograph], int]:
    """Draw photographs; which ones depends on the seed and on their ids, not on any listing.

    Args:
        classes: the candidates by class.
        draw: how many of each class, and which first.
        name: ``test`` or ``fit``.
        seed: the configured seed.
        other: the other part's photographs, which are not drawn again.

    Returns:
        The photographs, one of each class in turn, and how many were passed over because the other
        part has their bytes under another name. A class without a replacement for these comes out
        short.

    Raises:
        UserError: there are fewer than were asked for.
    """
    ordered = {}
    for label, candidates in sorted(classes.items()):
        free = sorted((c for c in candidates if c.id not in other.ids), key=lambda c: c.id)
        drawing = generator(seed, "images", name, label)
        shuffled = [free[i] for i in torch.randperm(len(free), generator=drawing).tolist()]
        shuffled.sort(key=lambda c: _rank(c, draw.prefer))
        ordered[label] = shuffled
    duplicates = 0
    chosen: list[list[Photograph]] = []
    for candidates, quota in zip(ordered.values(), _quotas(ordered, draw, name, seed), strict=True):
        kept: list[Photograph] = []
        for candidate in candidates:
            if len(kept) == quota:
                break
            if other.has_bytes_of(candidate):
                duplicates += 1
            else:
                kept.append(candidate)
        chosen.append(kept)
    in_turn = chain.from_iterable(zip_longest(*chosen))
    return [photograph for photograph in in_turn if photograph is not None], duplicates


def _rank(photograph: Photograph, patterns: Sequence[str]) -> int:
    """The place of the first pattern that fits a photograph; behind all if none does."""
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
            f"images.{name}: has both per_class and total. Keep one of them, or neither to take "
            "every photograph."
        )
    if draw.per_class is not None:
        for label, found in zip(classes, available, strict=True):
            if found < draw.per_class:
                title = labels.classes()[label] if label >= 0 else "of the unlabelled photographs"
                raise UserError(
                    f"images.{name}.per_class: {draw.per_class} photographs a class are asked for, "
                    f"but class {title} has {found}. Lower per_class, add photographs, or use "
                    "total, which takes what each class has."
                )
        return [draw.per_class] * len(available)
    if draw.total is None:
        return list(available)
    if draw.total > available.sum():
        raise UserError(
            f"images.{name}.total: {draw.total} photographs are asked for, but there are only "
            f"{available.sum()}. Lower total, leave it out to take them all, or add photographs "
            "or splits."
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


def _fill(
    file: h5py.File,
    photographs: Sequence[Photograph],
    crops: int,
    settings: Mapping[str, Any],
    seed: int,
) -> tuple[list[int], int]:
    """Decode photographs into a file.

    Returns:
        The labels of those that could be decoded, and how many images were made of them.
    """
    size = settings["size"]

    def work(photograph: Photograph) -> list[np.ndarray]:
        try:
            data = photograph.read()
        except OSError as error:
            raise UserError(
                f"{photograph.id}: cannot be read ({error}). Restore the file, or leave such "
                "files out with images.broken: skip."
            ) from error
        image = decode(data, photograph.id)
        drawing = generator(seed, "images", "crops", photograph.id)
        rows = [random_crop(image, size, drawing) for _ in range(crops - 1)]
        return [centre_crop(image, size), *rows]

    # Chunks, for only a dataset in chunks can be shortened when photographs were skipped.
    shape = (len(photographs) * crops, size, size, 3)
    images = file.create_dataset("images", shape, "uint8", maxshape=shape, chunks=(1, *shape[1:]))
    made: list[int] = []
    ids: list[str] = []
    waiting: list[np.ndarray] = []

    def flush() -> None:
        if waiting:
            images[len(ids) - len(waiting) : len(ids)] = np.stack(waiting)
            waiting.clear()

    with (
        store.room(Path(file.filename).parent, int(np.prod(shape)), "Its content"),
        ThreadPoolExecutor(torch.get_num_threads()) as pool,
    ):
        futures = _in_order(pool, work, photographs)
        for photograph, future in zip(
            photographs, progress(futures, "photographs", len(photographs)), strict=True
        ):
            try:
                rows = future.result()
            except UserError as error:
                if settings["broken"] == "error":
                    raise
                print(f"skipped: {error}", flush=True)
                continue
            waiting += rows
            ids += [photograph.id] if crops == 1 else [f"{photograph.id}#{i}" for i in range(crops)]
            made.append(photograph.label)
            if len(waiting) >= _BLOCK:
                flush()
        flush()
        images.flush()
    if not made:
        raise UserError(
            f"images: none of the {len(photographs)} photographs can be decoded. The log says why "
            "of each. Restore the files, or name others."
        )
    images.resize(len(ids), axis=0)
    store.put(
        file,
        {
            "labels": np.repeat(np.array(made, dtype=np.int64), crops),
            "ids": np.array(ids, dtype=object),
            "classes": np.array(labels.classes(), dtype=object),
        },
    )
    return made, len(ids)


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T]
) -> Iterator[Future[R]]:
    """Calls of ``function`` in the items' order, never many more than are asked for."""
    pending: deque[Future[R]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) >= _BLOCK:
            yield pending.popleft()
    yield from pending


def _source(layout: str, root: str | None, draw: Draw) -> str:
    """Where the photographs are from, in words that are the same on every machine."""
    if layout == "packages":
        return "packages " + ", ".join(entry["package"] for entry in draw.packages)
    place = draw.table if layout == "table" else f"split {' and '.join(draw.splits)}"
    return f"{layout} {Path(root or '').absolute().name}, {place}"
