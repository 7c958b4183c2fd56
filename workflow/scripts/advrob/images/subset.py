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
from advrob.images.decode import centre_crop, decode, large_photograph_lock, random_crop
from advrob.images.drawing import Choice, choose
from advrob.images.duplicates import Appearances, Drawn, appearance
from advrob.images.packages import LABELLED, SAMPLES
from advrob.images.photographs import BrokenError, Draw, Photograph, printable
from advrob.images.sources import find, source
from advrob.images.workers import in_order, in_thread
from advrob.job.compute import generator
from advrob.job.disk import require_space
from advrob.job.progress import progress

# Images that are written at a time.
_BLOCK = 64


@dataclass
class Written:
    """What was written to a file of images.

    Attributes:
        images: its rows.
        labels: the class of each photograph in it.
        skipped: photographs that should be in it, but cannot be decoded.
        copies: photographs left out because they look like one to test, each with that one's id.
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
    image_options: Mapping[str, Any],
    seed: int,
    shard: str = sharding.WHOLE,
) -> str:
    """Draw the subset and write it: images to test networks on, and others to fit defences to.

    No photograph is drawn twice under different names: photographs are compared by id, by their
    bytes and, among the images to fit, by their looks with those to test, which finds copies that
    were encoded anew. Photographs to test that look alike are reported. Rows alternate between the
    classes, so that the first rows of a file are a balanced subset as well. Several crops of a
    photograph follow each other and are called ``id#0``, ``id#1``, ...; the first is the standard
    evaluation crop.

    Where only a table is named, the images to fit are the rest of it. Where nothing is left there,
    or no splits are named and the test images are all there is, they are the packages' photographs.

    Args:
        test: the file of schema ``images/1`` to make for testing.
        fit: the one for fitting.
        root: the configured ``images_root``.
        image_options: the configuration's ``images``: ``size`` (side in pixels), ``layout``,
            ``broken`` (``error`` or ``skip``), and ``test`` and ``fit`` with the attributes of
            `Draw`.
        seed: the configured seed.
        shard: the share of both files to make; see `advrob.files.sharding`. Each draws the whole
            subset again, which takes no longer than waiting for one job to draw it, and decodes all
            photographs to test, to find copies of them.

    Returns:
        A sentence that counts what was made.

    Raises:
        UserError: the configuration does not fit what is there, or a photograph cannot be decoded.
    """
    appearances = Appearances()
    options: dict[str, Any] = {"image_options": image_options, "seed": seed}
    to_write = options | {"shard": shard, "appearances": appearances}
    # What is wrong with either part is reported before one photograph is decoded.
    with _readable_errors(), ExitStack() as files:
        options |= {"root": root, "files": files}
        choice, origin = _drawn("test", Drawn(), **options)
        fit_choice, fit_origin = _drawn("fit", choice.drawn, **options)
        tested = _written("test", test, choice, origin, **to_write)
        alike = _report_alike(appearances)
        fitted = _written("fit", fit, fit_choice, fit_origin, **to_write)
    copies = f", {len(fitted.copies)} copies left out" if fitted.copies else ""
    copies += f", {alike} test photographs look like others" if alike else ""
    return (
        f"{tested.images} test images of {len(set(tested.labels))} classes and {fitted.images} fit "
        f"images; {tested.skipped + fitted.skipped} skipped, "
        f"{len(choice.duplicates) + len(fit_choice.duplicates)} duplicates dropped{copies}"
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
    image_options = {"size": size, "layout": layout, "broken": "error", "test": draw}
    options: dict[str, Any] = {"image_options": image_options, "seed": seed}
    with TemporaryDirectory() as folder, _readable_errors(), ExitStack() as files:
        path = Path(folder) / "images.h5"
        choice, origin = _drawn("test", Drawn(), root=root, files=files, **options)
        options |= {"shard": sharding.WHOLE, "appearances": Appearances()}
        _written("test", path, choice, origin, **options)
        with store.read(path, "images/1") as file:
            return file["images"][:], file["labels"][:], store.strings(file["ids"])


@contextmanager
def _readable_errors() -> Iterator[None]:
    """Make errors of the block printable, whatever bytes the paths in them have."""
    try:
        yield
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        raise UserError(
            f"images: the photographs do not fit in memory{reason}. "
            "Give the job more: --set-resources images:mem_mb=4000"
        ) from error
    except UserError as error:
        raise UserError(printable(str(error))) from error


def _drawn(
    name: str,
    excluded: Drawn,
    *,
    root: str | None,
    image_options: Mapping[str, Any],
    seed: int,
    files: ExitStack,
) -> tuple[Choice, str]:
    """Draw one part of the subset, of photographs that the other part does not hold.

    Args:
        name: ``test`` or ``fit``.
        excluded: what the other part has drawn.
        root: as for `extract`, like the next two.
        image_options: see there.
        seed: see there.
        files: keeps open the archives that the photographs are read from.

    Returns:
        The photographs, and in words where they are from.
    """
    choice, origin = in_thread(
        lambda: _choose(name, excluded, root, image_options, seed, files), "listing photographs"
    )
    print(printable(f"{len(choice.photographs)} photographs to {name} from: {origin}"), flush=True)
    _report(choice)
    if image_options["broken"] == "error":
        for photograph in choice.photographs:
            if isinstance(photograph.file, str) and not photograph.size:
                photograph.read()
    return choice, origin


def _written(
    name: str,
    path: str | Path,
    choice: Choice,
    origin: str,
    *,
    image_options: Mapping[str, Any],
    seed: int,
    shard: str,
    appearances: Appearances,
) -> Written:
    """Write one part of the subset.

    Args:
        name: ``test`` or ``fit``.
        path: the file to write.
        choice: the photographs of the whole part.
        origin: where they are from.
        image_options: as for `extract`, like the next two.
        seed: see there.
        shard: see there.
        appearances: of the photographs to test: filled here from those, and compared with those to
            fit.
    """
    photographs = choice.photographs
    params = {key: image_options[key] for key in ("size", "layout", "broken", name)} | {
        "part": name,
        "drawn": len(photographs),
        "duplicates": len(choice.duplicates),
    }
    part = sharding.part(shard, len(photographs))
    assigned = photographs[part]
    with store.write(path, "images/1", seed=seed, params=params, source=printable(origin)) as file:
        written = _fill(file, assigned, name, image_options, seed, appearances)
    if name == "test":
        _add_appearances(photographs[: part.start] + photographs[part.stop :], appearances)
    return written


def _choose(
    name: str,
    excluded: Drawn,
    root: str | None,
    image_options: Mapping[str, Any],
    seed: int,
    files: ExitStack,
) -> tuple[Choice, str]:
    """Draw one part of the subset; the second value describes in words where it is from."""
    for layout, draw, prefix in _candidates(name, image_options):
        classes = find(layout, root, draw, files)
        if name == "test" and labels.UNLABELLED in classes:
            raise UserError(
                f"images.test: {classes[labels.UNLABELLED][0].id} has no label. Expected labelled "
                "photographs to test on. Put them into folders of classes, <split>/<class>/<file>; "
                "list them in a table (images.layout: table); give their entry of packages a label "
                "pattern; or use images.layout: imagenet with ImageNet's ground truth."
            )
        choice = choose(classes, draw, name, seed, excluded)
        if choice.photographs:
            return choice, prefix + source(layout, root, draw)
    raise UserError(
        f"images.{name}: no photograph is left to draw: all that were found are in the "
        "other part. Name other splits, packages or a smaller draw there."
    )


def _candidates(name: str, image_options: Mapping[str, Any]) -> Iterator[tuple[str, Draw, str]]:
    """Layouts and draws to try for a part, each with words to put before its source."""
    layout, draw = image_options["layout"], Draw(**image_options[name])
    if layout == "packages" and not draw.packages:
        draw = replace(draw, packages=LABELLED if name == "test" else SAMPLES)
    if name == "test" or layout == "packages" or draw.folder:
        yield layout, draw, ""
        return
    if layout != "table":
        yield layout, draw, ""
        if "splits" not in image_options[name]:
            yield "packages", replace(draw, packages=draw.packages or SAMPLES), ""
        return
    tested = image_options["test"].get("table")
    table = replace(draw, table=draw.table or tested)
    rest = "the rest of " if table.table == tested else ""
    yield layout, table, rest
    if rest:
        yield "packages", replace(draw, table=None, packages=draw.packages or SAMPLES), ""


def _report(choice: Choice) -> None:
    """Report in the log which photographs were left out."""
    if not choice.duplicates:
        return
    photograph, original = choice.duplicates[0]
    print(
        f"{len(choice.duplicates)} duplicates are left out, such as {photograph.id}, which has the "
        f"bytes of {original.id}",
        flush=True,
    )
    labelled = [
        (duplicate, original)
        for duplicate, original in choice.duplicates
        if labels.UNLABELLED < duplicate.label != original.label > -1
    ]
    if labelled:
        duplicate, original = labelled[0]
        names = labels.classes()
        print(
            f"warning: {len(labelled)} of them have another label than the photograph that is "
            f"kept, such as {duplicate.id} ({names[duplicate.label]}; kept as "
            f"{names[original.label]})",
            flush=True,
        )


def _report_alike(appearances: Appearances) -> int:
    """Report photographs to test that look the same as others; how many there are.

    They may be two photographs of one thing, so none is left out.
    """
    pairs = appearances.alike()
    if pairs:
        copy, original = pairs[0]
        print(
            f"warning: {len(pairs)} photographs to test look like others to test, such as {copy}, "
            f"which looks like {original}. If they are copies that were encoded anew, they count "
            "several times: remove all but one.",
            flush=True,
        )
    return len(pairs)


def _add_appearances(photographs: Sequence[Photograph], appearances: Appearances) -> None:
    """Add the appearances of photographs to test that another shard decodes."""

    def work(photograph: Photograph) -> np.ndarray | None:
        data = photograph.read()
        with large_photograph_lock(data):
            return appearance(decode(data, photograph.id))

    for photograph, future in _in_threads(work, photographs):
        try:
            appearances.add(photograph.id, future.result())
        except BrokenError:
            continue  # its own shard reports it


def _in_threads(
    work: Any, photographs: Sequence[Photograph]
) -> Iterator[tuple[Photograph, Future]]:
    futures = in_order(
        work, photographs, threads=torch.get_num_threads(), name=lambda photograph: photograph.id
    )
    counted = progress(futures, "photographs", len(photographs))
    return zip(photographs, counted, strict=True)


def _fill(
    file: h5py.File,
    photographs: Sequence[Photograph],
    name: str,
    image_options: Mapping[str, Any],
    seed: int,
    appearances: Appearances,
) -> Written:
    """Decode photographs into a file."""
    size, crops = image_options["size"], Draw(**image_options[name]).crops
    work = partial(_crops, size=size, crops=crops, seed=seed)

    # Only a dataset in chunks can be shortened where photographs were skipped.
    shape = (len(photographs) * crops, size, size, 3)
    images = file.create_dataset("images", shape, "uint8", maxshape=shape, chunks=(1, *shape[1:]))
    written = Written()
    ids: list[str] = []
    buffer: list[np.ndarray] = []

    def flush() -> None:
        if buffer:
            images[len(ids) - len(buffer) : len(ids)] = np.stack(buffer)
            buffer.clear()

    with require_space(Path(file.filename).parent, int(np.prod(shape)), "Its content"):
        for photograph, future in _in_threads(work, photographs):
            try:
                bits, rows = future.result()
            except BrokenError as error:
                if image_options["broken"] == "error":
                    raise
                written.skipped += 1
                print(printable(f"skipped: {error}"), flush=True)
                continue
            except MemoryError as error:
                raise _memory_error(photograph) from error
            if name == "test":
                appearances.add(photograph.id, bits)
            elif original := appearances.match(bits):
                written.copies.append((photograph.id, original))
                continue
            buffer += rows
            ids += [photograph.id] if crops == 1 else [f"{photograph.id}#{i}" for i in range(crops)]
            written.labels.append(photograph.label)
            if len(buffer) >= _BLOCK:
                flush()
        flush()
        images.flush()
    _check(written, len(photographs))
    written.images = len(ids)
    images.resize(written.images, axis=0)
    store.put(
        file,
        {
            "labels": np.repeat(np.array(written.labels, dtype=np.int64), crops),
            "ids": np.array(ids, dtype=object),
            "classes": np.array(labels.classes(), dtype=object),
        },
    )
    return written


def _crops(
    photograph: Photograph, *, size: int, crops: int, seed: int
) -> tuple[np.ndarray | None, list[np.ndarray]]:
    """A photograph's appearance, and the images cut from it."""
    data = photograph.read()
    with large_photograph_lock(data):
        image = decode(data, photograph.id)
        drawing = generator(seed, "images", "crops", photograph.id)
        rows = [random_crop(image, size, drawing) for _ in range(crops - 1)]
        return appearance(image), [centre_crop(image, size), *rows]


def _check(written: Written, photographs: int) -> None:
    """Report which copies were left out; refuse a file without an image."""
    if written.copies:
        copy, original = written.copies[0]
        print(
            f"{len(written.copies)} photographs are left out, for they look like ones to test that "
            f"were encoded anew, such as {copy}, which looks like {original}",
            flush=True,
        )
    if not written.labels and written.copies:
        raise UserError(
            f"images.fit: none of the {photographs} photographs is left: {len(written.copies)} "
            "look like test photographs. The log names one. Name other photographs under "
            "images.fit."
        )
    if not written.labels:
        raise UserError(
            f"images: none of the {photographs} photographs can be decoded. The log says why. "
            "Restore the files, or name others."
        )


def _memory_error(photograph: Photograph) -> UserError:
    return UserError(
        f"{photograph.id}: does not fit in memory while it is decoded (file of {photograph.size:,} "
        "bytes). Expected room for all of its pixels. Give the job more memory: --set-resources "
        "images:mem_mb=4000; or save the photograph smaller."
    )
