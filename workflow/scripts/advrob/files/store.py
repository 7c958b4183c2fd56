"""HDF5 in and out: whole or not at all, schema-checked, self-described.

Every file carries the attributes ``schema``, ``seed``, ``params`` (JSON) and ``source``. Nothing in
a file depends on the clock, so equal content is equal bytes.
"""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

from advrob.errors import UserError

ATTRIBUTES = ("schema", "seed", "params", "source")

# What an operating system says when a file cannot grow, and what that is to its user.
NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a limit on the size of files is reached",
}
# Rows of images that are copied at a time.
ROWS = 256

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
        "draws": ("bool", ("d", "n")),
        "ids": ("str", ("n",)),
    },
    "controls/1": {
        "datasets": ("str", ("k",)),
        "controls": ("str", ("c",)),
        "correct": ("bool", ("k", "c", "n")),
        "farthest": ("float64", ("k",)),
        "ids": ("str", ("n",)),
    },
    "budget/1": {
        "radii": ("float64", ("r",)),
        "correct": ("bool", ("r", "n")),
        "efforts": ("int64", ("e",)),
        "correct_effort": ("bool", ("e", "n")),
        "gradients": ("float32", ("n",)),
        "ids": ("str", ("n",)),
    },
    "certified/1": {
        "sigmas": ("float64", ("s",)),
        "predicted": ("int64", ("s", "n")),
        "radius": ("float64", ("s", "n")),
        "counts": ("int64", ("s", "n")),
        "labels": ("int64", ("n",)),
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


class Rows:
    """Rows of stored images, read when they are asked for: memory does not bound their number.

    Args:
        images: 8-bit images ``(n, H, W, 3)``, in memory or in a file.
        numbers: which of them, in which order.
    """

    def __init__(self, images: "np.ndarray | h5py.Dataset | Rows", numbers: np.ndarray) -> None:
        self.images, self.numbers = images, numbers
        self.shape: tuple[int, ...] = (len(numbers), *images.shape[1:])
        self.size = int(np.prod(self.shape))

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.numbers)

    def __getitem__(self, chosen: slice | np.ndarray) -> np.ndarray:
        """The chosen of these rows, in memory."""
        wanted = self.numbers[chosen]
        order = np.argsort(wanted, kind="stable")
        result = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        # A read for each run of neighbours: given a list of rows, HDF5 takes a hundred times as
        # long.
        for run in np.split(order, np.flatnonzero(np.diff(wanted[order]) != 1) + 1):
            if len(run):
                first = wanted[run[0]]
                result[run] = self.images[first : first + len(run)]
        return result


# Stored images, 8 bits, (N, H, W, 3): an array in memory, a dataset in a file, or some rows of one.
# Slices only.
Images: TypeAlias = np.ndarray | h5py.Dataset | Rows


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path`` and rename it onto ``path`` on success.

    A reader therefore finds the old file, or the new one, or none, also after the machine stopped.
    Two writers of one file do not disturb each other: each has a name of its own.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f"{_prefix(path)}{os.getpid()}.tmp")
    with growing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_orphans(path)
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    return f".{path.name}.{os.uname().nodename}."


def _remove_orphans(path: Path) -> None:
    """Remove what writers of ``path`` on this machine left when they were killed."""
    for file in path.parent.iterdir():
        if file.name.startswith(_prefix(path)) and file.suffix == ".tmp":
            process = int(file.stem.rpartition(".")[2])
            try:
                os.kill(process, 0)  # does nothing but ask for it
            except ProcessLookupError:
                file.unlink(missing_ok=True)
            except PermissionError:
                continue


@contextmanager
def growing(path: Path) -> Iterator[None]:
    """Say in a sentence why a file cannot be made.

    Raises:
        UserError: the folder cannot be written, or the disk is full; notes that were added to the
            error on its way are part of the sentence.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        code = _code(error)
        notes = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
        if code in NO_ROOM:
            folder = path.parent.resolve()
            raise UserError(
                f"{path}: {NO_ROOM[code]}.{notes} {readable(shutil.disk_usage(folder).free)} are "
                f"free in {folder}. Free some space, or choose another folder with --directory, "
                "and run the same command again."
            ) from error
        if code in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise UserError(
                f"{path}: cannot be written ({os.strerror(code)}). Expected a folder with write "
                "permission. Change its permissions or choose another one with --directory."
            ) from error
        raise


def _code(error: BaseException) -> int | None:
    """The operating system's error behind one: libraries in between wrap it or only quote it."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno is not None:
            return found.errno
        for code in NO_ROOM:
            if f"errno = {code}," in str(found):
                return code
        found = found.__cause__ or found.__context__
    return None


@contextmanager
def room(folder: Path, needed: int, what: str) -> Iterator[None]:
    """Refuse to begin to write what will not fit on the disk, and name its size if it does not.

    Args:
        folder: on the disk.
        needed: how many bytes will be written.
        what: they are.

    Raises:
        OSError: for `growing` to put in words.
    """
    try:
        if needed > shutil.disk_usage(folder).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield
    except (OSError, RuntimeError) as error:
        if _code(error) in NO_ROOM:
            error.add_note(f"{what} needs {readable(needed)}.")
        raise


def readable(size: float) -> str:
    """A number of bytes for a message."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


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
        try:
            file.attrs["schema"] = schema
            file.attrs["seed"] = seed
            file.attrs["params"] = json.dumps(params, sort_keys=True)
            file.attrs["source"] = source
            yield file
            _check(file, schema, str(path))
            file.flush()
        except BaseException:
            # On a full disk HDF5 could not close it, and would crash. What it takes up suffices.
            with contextlib.suppress(OSError):
                os.truncate(temporary, 0)
            raise


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
    """Write named arrays into ``group``, those given as `Blocks` one block at a time.

    HDF5 lists names in alphabetical order. Writing them in this order, too, equal content is equal
    bytes, whoever put it together.
    """
    needed = sum(
        int(np.prod(array.shape)) * np.dtype(array.dtype).itemsize
        if isinstance(array, Blocks)
        else np.asarray(array).nbytes
        for array in arrays.values()
    )
    with room(Path(group.file.filename).parent, needed, "Its content"):
        _put(group, arrays)


def _put(group: h5py.Group, arrays: Mapping[str, Array]) -> None:
    for name, array in sorted(arrays.items()):
        if isinstance(array, Blocks):
            dataset = group.create_dataset(name, shape=array.shape, dtype=array.dtype)
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
            dataset = group.create_dataset(name, data=array)
        # What HDF5 cannot write should fail here, and not when it closes the dataset.
        dataset.flush()


@contextmanager
def read(path: str | Path, schema: str | None) -> Iterator[h5py.File]:
    """Open a file of the given schema, or of any, for reading.

    Raises:
        UserError: the file is missing, not HDF5, truncated, or of another schema.
    """
    if not Path(path).exists():
        raise UserError(f"{path}: no such file. Make it with: snakemake --cores 1 {path}")
    try:
        # No cache of chunks: an image is one, and without the copy is read in a third of the time.
        file = h5py.File(path, "r", rdcc_nbytes=0)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be opened as HDF5 ({error}). It is truncated, of another format, or "
            "being written by somebody else. Delete it and run Snakemake again."
        ) from error
    with file:
        _check(file, schema or str(file.attrs.get("schema")), str(path))
        yield file


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
        schema, seed, made, source = (first.attrs[name] for name in ATTRIBUTES)
        for part, file in zip(parts, files, strict=True):
            differing = [name for name in ATTRIBUTES if file.attrs[name] != first.attrs[name]]
            differing += sorted(file.keys() ^ first.keys())
            if differing:
                raise UserError(
                    f"{part}: is no part of the same whole as {parts[0]}: they differ in "
                    f"{', '.join(differing)}. Delete both and run Snakemake again."
                )
        with write(path, schema, seed=seed, params=json.loads(made), source=source) as whole:
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
        return Blocks((rows, *datasets[0].shape[1:]), str(datasets[0].dtype), blocks)
    is_text = h5py.check_string_dtype(datasets[0].dtype)
    arrays = [part.asstr()[:] if is_text else part[:] for part in datasets]
    return np.concatenate(arrays, axis=axes.index("n") if "n" in axes else 0)


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
    if found != schema or schema not in SCHEMAS:
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
