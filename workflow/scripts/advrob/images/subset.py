"""The subset: seeded draws of photographs, decoded into one file to test and one to fit."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import torch

from advrob.errors import UserError
from advrob.files import sharding, store
from advrob.images import labels
from advrob.images.decode import centre_crop, decode, random_crop, room
from advrob.images.drawing import Choice, choose
from advrob.images.duplicates import Appearances, Drawn, appearance
from advrob.images.packages import LABELLED, SAMPLES
from advrob.images.photographs import BrokenError, Draw, Photograph, printable
from advrob.images.sources import find, source
from advrob.images.workers import alone, in_order
from advrob.job.compute import generator
from advrob.job.progress import progress

# Images that are written at a time.
_BLOCK = 64


@dataclass
class Made:
    """What a file of images was made of.

    Attributes:
        images: its rows.
        labels: the class of each photograph in it.
        skipped: photographs that should be in it, but cannot be decoded.
        copies: photographs left out for they look like one to test, each with that one's id.
    """

    images: int = 0
    labels: list[int] = field(default_factory=list)
    skipped: int = 0
    copies: list[tuple[str, str]] = field(default_factory=list)


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

    No photograph is there twice, whatever its names are: by id, by its bytes or, among the images
    to fit, as a copy of one to test that was encoded anew. Rows alternate between the classes, so
    that the first rows of a file are a balanced subset as well. Several crops of a photograph
    follow each other and are called ``id#0``, ``id#1``, ...; the first is the standard evaluation
    crop.

    Where a table alone is named, what is learned from is the rest of it, or the packages'
    photographs if there is none.

    Args:
        test: the file of schema ``images/1`` to make for testing.
        fit: the one for fitting.
        root: the configured ``images_root``.
        settings: the configuration's ``images``: ``size`` (side in pixels), ``layout``, ``broken``
            (``error`` or ``skip``), and ``test`` and ``fit`` with the attributes of `Draw`.
        seed: the configured seed.
        shard: the share of both files to make; see `advrob.files.sharding`. Each draws the whole
            subset again, which takes as long as waiting for somebody else to have drawn it, and
            looks at all photographs to test, for copies of them.

    Returns:
        A sentence that counts what was made.

    Raises:
        UserError: the configuration does not fit what is there, or a photograph cannot be decoded.
    """
    looks = Appearances()
    make = partial(_make, root=root, settings=settings, seed=seed, shard=shard, looks=looks)
    with _said():
        tested, choice = make("test", test, Drawn())
        fitted, other = make("fit", fit, choice.drawn)
    copies = f", {len(fitted.copies)} copies left out" if fitted.copies else ""
    return (
        f"{tested.images} test images of {len(set(tested.labels))} classes and {fitted.images} fit "
        f"images; {tested.skipped + fitted.skipped} skipped, "
        f"{len(choice.passed) + len(other.passed)} duplicates dropped{copies}"
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
    with TemporaryDirectory() as folder, _said():
        path = Path(folder) / "images.h5"
        _make(
            "test",
            path,
            Drawn(),
            root=root,
            settings=settings,
            seed=seed,
            shard=sharding.WHOLE,
            looks=Appearances(),
        )
        with store.read(path, "images/1") as file:
            return file["images"][:], file["labels"][:], store.strings(file["ids"])


@contextmanager
def _said() -> Iterator[None]:
    """Make errors of the block fit for a log, whatever bytes the paths in them have."""
    try:
        yield
    except MemoryError as error:
        raise UserError(
            f"images: the photographs do not fit in memory ({error}). Give the job more: "
            "--set-resources images:mem_mb=4000"
        ) from error
    except UserError as error:
        raise UserError(printable(str(error))) from error


def _make(
    name: str,
    path: str | Path,
    other: Drawn,
    *,
    root: str | None,
    settings: Mapping[str, Any],
    seed: int,
    shard: str,
    looks: Appearances,
) -> tuple[Made, Choice]:
    """Write one part of the subset, of photographs that the other part does not hold.

    Args:
        name: ``test`` or ``fit``.
        path: the file to write.
        other: what the other part has drawn.
        root: as `extract` has it, and so the next three.
        settings: see there.
        seed: see there.
        shard: see there.
        looks: what the photographs to test look like: of those it is made here, for those to fit
            it is compared.

    Returns:
        What was made of the shard, and what was drawn for the whole part.
    """
    with ExitStack() as files:
        choice, place = alone(
            lambda: _choose(name, other, root, settings, seed, files), "listing photographs"
        )
        photographs = choice.photographs
        print(printable(f"{len(photographs)} photographs to {name} from: {place}"), flush=True)
        _report(choice)
        params = {key: settings[key] for key in ("size", "layout", "broken", name)} | {
            "drawn": len(photographs),
            "duplicates": len(choice.passed),
        }
        part = sharding.part(shard, len(photographs))
        own = photographs[part]
        with store.write(
            path, "images/1", seed=seed, params=params, source=printable(place)
        ) as file:
            made = _fill(file, own, name, settings, seed, looks)
        if name == "test":
            _look(photographs[: part.start] + photographs[part.stop :], looks)
    return made, choice


def _choose(
    name: str,
    other: Drawn,
    root: str | None,
    settings: Mapping[str, Any],
    seed: int,
    files: ExitStack,
) -> tuple[Choice, str]:
    """Draw one part of the subset; the second value says in words where it is from."""
    for layout, draw, share in _candidates(name, settings):
        classes = find(layout, root, draw, files)
        if name == "test" and labels.UNLABELLED in classes:
            raise UserError(
                f"images.test: {classes[labels.UNLABELLED][0].id} has no label. Expected labelled "
                "photographs to test on. Put them into folders of classes, <split>/<class>/<file>; "
                "list them in a table (images.layout: table); give their entry of packages a label "
                "pattern; or use images.layout: imagenet with ImageNet's ground truth."
            )
        choice = choose(classes, draw, name, seed, other)
        if choice.photographs:
            return choice, share + source(layout, root, draw)
    raise UserError(
        f"images.{name}: no photograph is left to draw: all that were found are in the "
        "other part. Name other splits, packages or a smaller draw there."
    )


def _candidates(name: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, Draw, str]]:
    """Layouts and draws to try for a part, each with what share of it is meant, in words."""
    layout, draw = settings["layout"], Draw(**settings[name])
    if layout == "packages" and not draw.packages:
        draw = replace(draw, packages=LABELLED if name == "test" else SAMPLES)
    if name == "test" or layout != "table" or draw.folder:
        yield layout, draw, ""
        return
    tested = settings["test"].get("table")
    table = replace(draw, table=draw.table or tested)
    rest = "the rest of " if table.table == tested else ""
    yield layout, table, rest
    if rest:
        yield "packages", replace(draw, table=None, packages=draw.packages or SAMPLES), ""


def _report(choice: Choice) -> None:
    """Say in the log which photographs were passed over."""
    if not choice.passed:
        return
    photograph, twin = choice.passed[0]
    print(
        f"{len(choice.passed)} duplicates are left out, such as {photograph.id}, which has the "
        f"bytes of {twin.id}",
        flush=True,
    )
    labelled = [
        (one, two) for one, two in choice.passed if labels.UNLABELLED < one.label != two.label > -1
    ]
    if labelled:
        one, two = labelled[0]
        names = labels.classes()
        print(
            f"warning: {len(labelled)} of them have another label than the photograph that is "
            f"kept, such as {one.id} ({names[one.label]}; kept as {names[two.label]})",
            flush=True,
        )


def _look(photographs: Sequence[Photograph], looks: Appearances) -> None:
    """See what photographs to test look like that another shard decodes."""

    def work(photograph: Photograph) -> np.ndarray | None:
        data = photograph.read()
        with room(data):
            return appearance(decode(data, photograph.id))

    for photograph, future in _worked(work, photographs):
        try:
            looks.add(photograph.id, future.result())
        except BrokenError:
            continue  # its own shard says so


def _worked(work: Any, photographs: Sequence[Photograph]) -> Iterator[tuple[Photograph, Future]]:
    futures = in_order(
        work, photographs, threads=torch.get_num_threads(), name=lambda photograph: photograph.id
    )
    counted = progress(futures, "photographs", len(photographs))
    return zip(photographs, counted, strict=True)


def _fill(
    file: h5py.File,
    photographs: Sequence[Photograph],
    name: str,
    settings: Mapping[str, Any],
    seed: int,
    looks: Appearances,
) -> Made:
    """Decode photographs into a file."""
    size, crops = settings["size"], Draw(**settings[name]).crops
    work = partial(_crops, size=size, crops=crops, seed=seed)

    # Chunks, for only a dataset in chunks can be shortened when photographs were skipped.
    shape = (len(photographs) * crops, size, size, 3)
    images = file.create_dataset("images", shape, "uint8", maxshape=shape, chunks=(1, *shape[1:]))
    made = Made()
    ids: list[str] = []
    waiting: list[np.ndarray] = []

    def flush() -> None:
        if waiting:
            images[len(ids) - len(waiting) : len(ids)] = np.stack(waiting)
            waiting.clear()

    with store.require_space(Path(file.filename).parent, int(np.prod(shape)), "Its content"):
        for photograph, future in _worked(work, photographs):
            try:
                look, rows = future.result()
            except BrokenError as error:
                if settings["broken"] == "error":
                    raise
                made.skipped += 1
                print(printable(f"skipped: {error}"), flush=True)
                continue
            except MemoryError as error:
                raise _no_room(photograph) from error
            if name == "test":
                looks.add(photograph.id, look)
            elif original := looks.like(look):
                made.copies.append((photograph.id, original))
                continue
            waiting += rows
            ids += [photograph.id] if crops == 1 else [f"{photograph.id}#{i}" for i in range(crops)]
            made.labels.append(photograph.label)
            if len(waiting) >= _BLOCK:
                flush()
        flush()
        images.flush()
    _check(made, len(photographs))
    made.images = len(ids)
    images.resize(made.images, axis=0)
    store.put(
        file,
        {
            "labels": np.repeat(np.array(made.labels, dtype=np.int64), crops),
            "ids": np.array(ids, dtype=object),
            "classes": np.array(labels.classes(), dtype=object),
        },
    )
    return made


def _crops(
    photograph: Photograph, *, size: int, crops: int, seed: int
) -> tuple[np.ndarray | None, list[np.ndarray]]:
    """What a photograph looks like, and the images cut from it."""
    data = photograph.read()
    with room(data):
        image = decode(data, photograph.id)
        drawing = generator(seed, "images", "crops", photograph.id)
        rows = [random_crop(image, size, drawing) for _ in range(crops - 1)]
        return appearance(image), [centre_crop(image, size), *rows]


def _check(made: Made, photographs: int) -> None:
    """Say which copies were left out; refuse a file without an image."""
    if made.copies:
        copy, original = made.copies[0]
        print(
            f"{len(made.copies)} photographs are left out, for they look like ones to test that "
            f"were encoded anew, such as {copy}, which looks like {original}",
            flush=True,
        )
    if not made.labels and made.copies:
        raise UserError(
            f"images.fit: none of the {photographs} photographs is left: {len(made.copies)} look "
            "like ones to test. The log names one. Name others under images.fit."
        )
    if not made.labels:
        raise UserError(
            f"images: none of the {photographs} photographs can be decoded. The log says why "
            "of each. Restore the files, or name others."
        )


def _no_room(photograph: Photograph) -> UserError:
    return UserError(
        f"{photograph.id}: does not fit in memory while it is decoded (file of {photograph.size:,} "
        "bytes). Expected room for all of its pixels. Give the job more memory: --set-resources "
        "images:mem_mb=4000; or save the photograph smaller."
    )
