"""HDF5 in and out: atomic, schema-checked, self-described, and with checksums.

Every file carries the attributes ``schema``, ``seed``, ``params`` (JSON) and ``source``. Nothing in
a file depends on the clock, so equal content is equal bytes.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from advrob.errors import UserError
from advrob.files import seal
from advrob.files.atomic import replacing
from advrob.files.provenance import check_params, named
from advrob.files.schemas import ATTRIBUTES, SCHEMAS, check
from advrob.job.disk import require_space

# Rows of images that are copied at a time.
ROWS = 256

# How files are opened. Nobody reads a file before it is whole, so that locks, which some file
# systems lack, have nothing to guard.
_FORMAT: dict[str, Any] = {"libver": "v110", "locking": False}

# Bytes from which a dataset has checksums of its own, and of a chunk that has one: one image of
# usual size, for more would be read in vain where single images are read.
_LARGE, _CHUNK = 1 << 20, 1 << 16


@dataclass(frozen=True)
class StreamedArray:
    """An array that is produced in blocks of rows, so that it never has to fit in memory.

    Attributes:
        shape: the whole array's shape.
        dtype: its NumPy type.
        rows: consecutive blocks along the first axis, together ``shape[0]`` rows.
    """

    shape: tuple[int, ...]
    dtype: str
    rows: Iterable[np.ndarray]


Array = np.ndarray | StreamedArray


@contextmanager
def write(
    path: str | Path, schema: str, *, seed: int, params: Mapping[str, Any], source: str
) -> Iterator[h5py.File]:
    """Open a new file for writing; it appears under ``path`` when the block ends without error.

    Args:
        path: the file to make or replace.
        schema: a key of `SCHEMAS`, checked before the file appears.
        seed: the configured seed.
        params: what the content was computed with; stored as JSON with sorted keys.
        source: what the content was computed from, for a human reader.
    """
    with replacing(path) as temporary:
        with _created(temporary) as file:
            file.attrs["schema"] = schema
            file.attrs["seed"] = seed
            file.attrs["params"] = json.dumps(params, sort_keys=True)
            file.attrs["source"] = source
            yield file
            check(file, schema, str(path))
            file.flush()
            stretch = seal.longest_stretch(file)
        seal.seal(temporary, stretch)


@contextmanager
def _created(path: Path) -> Iterator[h5py.File]:
    # No cache of chunks: they lie in the file in the order of their rows, however these come.
    with _opened(path, "w", userblock_size=seal.SIZE) as file:
        try:
            yield file
        except BaseException:
            # On a full disk HDF5 could not close it, and would crash. What it takes up suffices.
            with contextlib.suppress(OSError):
                os.truncate(path, 0)
            raise


def _opened(path: str | Path, mode: str, **options: Any) -> h5py.File:
    """A file without a cache of chunks.

    Raises:
        UserError: the environment demands locks that the file system does not have.
    """
    try:
        return h5py.File(path, mode, rdcc_nbytes=0, **_FORMAT, **options)
    except OSError as error:
        if "unable to lock file" not in str(error):
            raise
        raise UserError(
            f"{path}: cannot be locked ({error}). That does not mean that it is damaged. Unset the "
            "environment variable HDF5_USE_FILE_LOCKING, which demands locks, and run the same "
            "command again."
        ) from error


def save(
    path: str | Path,
    schema: str,
    arrays: Mapping[str, Array],
    *,
    seed: int,
    params: Mapping[str, Any],
    source: str,
    **attributes: float,
) -> None:
    """Write a file of named arrays; see `write`.

    Args:
        path: the file to make or replace.
        schema: a key of `SCHEMAS`.
        arrays: by name.
        seed: the configured seed.
        params: what the content was computed with.
        source: what it was computed from.
        attributes: further attributes of the file.
    """
    with write(path, schema, seed=seed, params=params, source=source) as file:
        put(file, arrays)
        file.attrs.update(attributes)


def put(group: h5py.Group, arrays: Mapping[str, Array]) -> None:
    """Write named arrays into ``group``, those given as `StreamedArray` one block at a time.

    HDF5 lists names in alphabetical order. Writing them in this order, too, equal content is equal
    bytes, whoever put it together.
    """
    needed = sum(
        int(np.prod(array.shape)) * np.dtype(array.dtype).itemsize
        if isinstance(array, StreamedArray)
        else np.asarray(array).nbytes
        for array in arrays.values()
    )
    with require_space(Path(group.file.filename).parent, needed, "Its content"):
        _put(group, arrays)


def _put(group: h5py.Group, arrays: Mapping[str, Array]) -> None:
    for name, array in sorted(arrays.items()):
        if isinstance(array, StreamedArray):
            dataset = create(group, name, array.shape, array.dtype)
            row = 0
            for block in array.rows:
                dataset[row : row + len(block)] = block
                row += len(block)
            if row != array.shape[0]:
                raise ValueError(f"{name}: {row} rows were produced, {array.shape[0]} promised")
        elif np.asarray(array).dtype.kind in "UO":
            text = np.asarray(array, dtype=object)
            dataset = group.create_dataset(name, data=text, dtype=h5py.string_dtype())
        else:
            values = np.asarray(array)
            dataset = create(group, name, values.shape, values.dtype)
            dataset[...] = values
        # What HDF5 cannot write should fail here, and not when it closes the dataset.
        dataset.flush()


def create(
    group: h5py.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: str | np.dtype,
    *,
    resizable: bool = False,
) -> h5py.Dataset:
    """An empty dataset of numbers, in chunks of rows that carry checksums if it is large.

    HDF5 verifies these (Fletcher-32) in each chunk that it reads. Smaller datasets belong to the
    digest of the whole file.

    Args:
        group: to create it in.
        name: of the dataset.
        shape: of the whole array.
        dtype: its NumPy type.
        resizable: whether it may be made smaller later.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    options: dict[str, Any] = {"maxshape": shape} if resizable else {}
    if size >= _LARGE or resizable:
        rows = max(1, _CHUNK * shape[0] // max(size, 1))
        chunk = (min(rows, shape[0]), *shape[1:])
        options |= {"chunks": chunk, "fletcher32": size >= _LARGE}
    return group.create_dataset(name, shape=shape, dtype=dtype, **options)


@contextmanager
def read(
    path: str | Path, schema: str | None, *, about: Mapping[str, Any] | None = None
) -> Iterator[h5py.File]:
    """Open a file for reading.

    Whatever of it is damaged ends the block with a `UserError`: most when the file is opened, a
    large array when it is read.

    Args:
        path: the file.
        schema: that it must have; any if it is None.
        about: parameters that it must have been made with; by default what its name says that it
            is about, as ``model`` and ``defence``.

    Raises:
        UserError: the file is missing, unreadable, not HDF5, damaged, of another schema, or about
            something else.
    """
    seal.verify(path)
    # No cache of chunks: an image is one, and without the copy is read in a third of the time.
    with _opened(path, "r") as file:
        check(file, schema or str(file.attrs.get("schema")), str(path))
        check_params(file, named(path) if about is None else about)
        try:
            yield file
        except OSError as error:
            if (name := _unreadable(file)) is None:
                raise
            raise UserError(
                f"{path}: is damaged: dataset '{name}' does not match its checksums ({error}). It "
                "was corrupted on the disk, or another program changed it. Delete it and run "
                "Snakemake again."
            ) from error


def _unreadable(file: h5py.File) -> str | None:
    """The name of a dataset with checksums that HDF5 cannot read."""

    def fails(name: str, item: h5py.Dataset | h5py.Group) -> str | None:
        if isinstance(item, h5py.Dataset) and item.fletcher32:
            try:
                for chunk in item.iter_chunks():
                    item[chunk]
            except OSError:
                return name
        return None

    return file.visititems(fails)


def save_changed(
    path: str | Path, original: h5py.File, images: Iterable[np.ndarray], **about: Any
) -> None:
    """Write a file of images that differs from an open one in nothing but its pixels.

    Args:
        path: the file.
        original: an open file of images.
        images: the pixels, in blocks of rows, uint8 ``(n, H, W, 3)``.
        about: ``seed``, ``params`` and ``source`` of `write`.
    """
    with write(path, "images/1", **about) as file:
        put(file, {"images": StreamedArray(original["images"].shape, "uint8", images)})
        for name in ("labels", "ids", "classes"):
            original.copy(name, file)


@contextmanager
def join(path: str | Path, parts: Sequence[str | Path]) -> Iterator[h5py.File]:
    """Write a file of all rows of several, in their order, as if they had been written at once.

    Rows are those of a schema's axis n. Datasets that it does not name have a row for each, too.

    Args:
        path: the file to make or replace; open for more attributes until the block ends.
        parts: files of one schema that differ in their rows alone.

    Raises:
        UserError: they differ in more.
    """
    with ExitStack() as opened:
        files = [opened.enter_context(read(part, None)) for part in parts]
        first = files[0]
        schema, seed, params_json, source = (first.attrs[name] for name in ATTRIBUTES)
        for part, file in zip(parts, files, strict=True):
            differing = [name for name in ATTRIBUTES if file.attrs[name] != first.attrs[name]]
            differing += sorted(file.keys() ^ first.keys())
            if differing:
                raise UserError(
                    f"{part}: does not belong with {parts[0]}: they differ in "
                    f"{', '.join(differing)}. Delete both and run Snakemake again."
                )
        with write(path, schema, seed=seed, params=json.loads(params_json), source=source) as whole:
            put(whole, {name: _joined(name, schema, files) for name in first})
            yield whole


def _joined(name: str, schema: str, files: Sequence[h5py.File]) -> Array:
    """A dataset of all files' rows; images, which may not fit in memory, in blocks."""
    datasets = [file[name] for file in files]
    axes = SCHEMAS[schema].get(name, ("", ("n",)))[1]
    if "n" not in axes:
        datasets = datasets[:1]
    elif len(axes) > 2:
        rows = sum(map(len, datasets))
        blocks = (part[i : i + ROWS] for part in datasets for i in range(0, len(part), ROWS))
        return StreamedArray((rows, *datasets[0].shape[1:]), str(datasets[0].dtype), blocks)
    is_text = h5py.check_string_dtype(datasets[0].dtype)
    arrays = [part.asstr()[:] if is_text else part[:] for part in datasets]
    return np.concatenate(arrays, axis=axes.index("n") if "n" in axes else 0)


def strings(dataset: h5py.Dataset) -> list[str]:
    """A dataset of text as a list of ``str``."""
    return [str(text) for text in dataset.asstr()[:]]


def check_ids(path: str, ids: Sequence[str], original: str, original_ids: Sequence[str]) -> None:
    """Refuse a file about other images than the file ``original``, or about them in another order.

    Raises:
        UserError: the ids differ.
    """
    if list(ids) != list(original_ids):
        raise UserError(
            f"{path}: contains other images than {original}; {difference(ids, original_ids)}. "
            "Expected the same ids in the same order; delete the older of the two and run "
            "Snakemake again."
        )


def difference(ids: Sequence[str], others: Sequence[str]) -> str:
    """Where two lists of images that are not equal first differ, in words."""
    if len(ids) != len(others):
        return f"the first has {len(ids)}, the second {len(others)}"
    row, (mine, other) = next(
        (row, pair) for row, pair in enumerate(zip(ids, others, strict=True)) if pair[0] != pair[1]
    )
    return f"image {row}, counted from 0, is {mine} in the first and {other} in the second"
