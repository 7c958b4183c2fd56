"""HDF5 in and out: whole or not at all, schema-checked, self-described.

Every file carries the attributes ``schema``, ``seed``, ``params`` (JSON) and ``source``. Nothing in
a file depends on the clock, so equal content is equal bytes.
"""

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from advrob.errors import UserError

ATTRIBUTES = ("schema", "seed", "params", "source")

# Datasets that a schema requires: kind of number and shape. A letter stands for a length that is
# free but the same wherever the letter appears in one file; "str" is variable-length UTF-8.
SCHEMAS: dict[str, dict[str, tuple[str, tuple[str | int, ...]]]] = {
    "images/1": {
        "images": ("uint8", ("n", "h", "w", 3)),
        "labels": ("int64", ("n",)),
        "ids": ("str", ("n",)),
        "classes": ("str", ("c",)),
    },
    "state/1": {},
    "perturbation/1": {"perturbation": ("float32", ("h", "w", 3))},
    "scores/1": {
        "predicted": ("int64", ("n",)),
        "correct": ("bool", ("n",)),
        "confidence": ("float32", ("n",)),
        "ids": ("str", ("n",)),
    },
    "sweep/1": {
        "magnitudes": ("float64", ("m",)),
        "predicted": ("int64", ("m", "n")),
        "correct": ("bool", ("m", "n")),
        "confidence": ("float32", ("m", "n")),
        "ids": ("str", ("n",)),
    },
    "vector_space/1": {
        "attacks": ("str", ("a",)),
        "spaces": ("str", ("s",)),
        "defences": ("str", ("f",)),
        "ids": ("str", ("n",)),
        "energy_original": ("float64", ("k",)),
        "energy": ("float64", ("a", "k")),
        "l2": ("float64", ("a", "s", "n")),
        "linf": ("float64", ("a", "s", "n")),
        "relative": ("float64", ("a", "s", "n")),
        "angle": ("float64", ("a", "s", "n")),
        "similarity": ("float64", ("a", "s")),
        "changed": ("bool", ("a", "n")),
        "retained": ("float64", ("f", "a", "n")),
        "cosine": ("float64", ("f", "a", "n")),
        "singular_normals": ("float64", ("m",)),
        "singular_random": ("float64", ("m",)),
    },
}


@dataclass(frozen=True)
class Blocks:
    """An array that is produced in blocks of rows, so that it never has to fit in memory.

    Attributes:
        shape: the whole array's shape.
        dtype: its NumPy type.
        rows: consecutive blocks along the first axis, together ``shape[0]`` rows.
    """

    shape: tuple[int, ...]
    dtype: str
    rows: Iterable[np.ndarray]


Array = np.ndarray | Blocks


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path`` and rename it onto ``path`` on success.

    A reader therefore finds the old file, or the new one, or none. Two writers of one file do not
    disturb each other: each has a name of its own.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            raise UserError(
                f"{path}: the disk is full. Nothing was kept of this file. Free some space in "
                f"{path.parent.resolve()} and run the same command again."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(
                f"{path}: cannot be written ({error.strerror}). Expected a folder with write "
                "permission. Change its permissions or choose another one with --directory."
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


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
    with replacing(path) as temporary, h5py.File(temporary, "w", libver="v110") as file:
        file.attrs["schema"] = schema
        file.attrs["seed"] = seed
        file.attrs["params"] = json.dumps(params, sort_keys=True)
        file.attrs["source"] = source
        yield file
        _check(file, schema, str(path))


def put(group: h5py.Group, arrays: Mapping[str, Array]) -> None:
    """Write named arrays into ``group``, those given as `Blocks` one block at a time."""
    for name, array in arrays.items():
        if isinstance(array, Blocks):
            dataset = group.create_dataset(name, shape=array.shape, dtype=array.dtype)
            row = 0
            for block in array.rows:
                dataset[row : row + len(block)] = block
                row += len(block)
            if row != array.shape[0]:
                raise ValueError(f"{name}: {row} rows were produced, {array.shape[0]} promised")
        elif np.asarray(array).dtype.kind in "UO":
            group.create_dataset(
                name, data=np.asarray(array, dtype=object), dtype=h5py.string_dtype()
            )
        else:
            group.create_dataset(name, data=array)


@contextmanager
def read(path: str | Path, schema: str) -> Iterator[h5py.File]:
    """Open a file of the given schema for reading.

    Raises:
        UserError: the file is missing, not HDF5, truncated, or of another schema.
    """
    if not Path(path).exists():
        raise UserError(f"{path}: no such file. Make it with: snakemake --cores 1 {path}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be opened as HDF5 ({error}). It is truncated, of another format, or "
            "being written by somebody else. Delete it and run Snakemake again."
        ) from error
    with file:
        _check(file, schema, str(path))
        yield file


def params(file: h5py.File) -> dict[str, Any]:
    """The parameters that a file was computed with."""
    return dict(json.loads(file.attrs["params"]))


def strings(dataset: h5py.Dataset) -> list[str]:
    """A dataset of text as a list of ``str``."""
    return [str(text) for text in dataset.asstr()[:]]


def check_ids(path: str, found: Sequence[str], original: str, expected: Sequence[str]) -> None:
    """Refuse a file about other images than the file ``original``, or about them in another order.

    Raises:
        UserError: the ids differ.
    """
    if list(found) != list(expected):
        raise UserError(
            f"{path}: is about other images than {original} ({len(found)} against "
            f"{len(expected)}). Expected the same ids in the same order; delete the older of the "
            "two and run Snakemake again."
        )


def _check(file: h5py.File, schema: str, name: str) -> None:
    for attribute in ATTRIBUTES:
        if attribute not in file.attrs:
            raise UserError(
                f"{name}: has no attribute '{attribute}'. Expected a file of schema {schema} made "
                "by this workflow. Delete it and run Snakemake again."
            )
    found = file.attrs["schema"]
    if found != schema:
        raise UserError(
            f"{name}: is of schema {found}, expected {schema}. Give a file of the right kind, or "
            "delete this one and run Snakemake again."
        )
    lengths: dict[str, int] = {}
    for dataset, (kind, shape) in SCHEMAS[schema].items():
        if not isinstance(file.get(dataset), h5py.Dataset):
            raise UserError(f"{name}: has no dataset '{dataset}', which schema {schema} requires.")
        item = file[dataset]
        found_kind = "str" if h5py.check_string_dtype(item.dtype) else str(item.dtype)
        matches = len(item.shape) == len(shape) and all(
            length == (lengths.setdefault(want, length) if isinstance(want, str) else want)
            for length, want in zip(item.shape, shape, strict=True)
        )
        if found_kind != kind or not matches:
            expected = ", ".join(
                f"{want}={lengths[want]}" if want in lengths else str(want) for want in shape
            )
            raise UserError(
                f"{name}: dataset '{dataset}' is {found_kind} {item.shape}, but schema {schema} "
                f"expects {kind} ({expected})."
            )
