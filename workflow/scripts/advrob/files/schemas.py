"""What each kind of HDF5 file holds, and whether a file holds it."""

import h5py

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


def check(file: h5py.File, schema: str, name: str) -> None:
    """Refuse a file that lacks what its schema requires.

    Args:
        file: open.
        schema: a key of `SCHEMAS`.
        name: the file's, for the message.

    Raises:
        UserError: an attribute or a dataset is missing or of another kind or shape.
    """
    for attribute in ATTRIBUTES:
        if attribute not in file.attrs:
            raise UserError(
                f"{name}: has no attribute '{attribute}'. Expected a file of schema {schema} made "
                "by this workflow. Delete it and run Snakemake again."
            )
    file_schema = file.attrs["schema"]
    if file_schema != schema or schema not in SCHEMAS:
        raise UserError(
            f"{name}: is of schema {file_schema}, expected {schema}. Give a file of the right "
            "kind, or delete this one and run Snakemake again."
        )
    lengths: dict[str, int] = {}
    for dataset, (kind, shape) in SCHEMAS[schema].items():
        if not isinstance(file.get(dataset), h5py.Dataset):
            raise UserError(
                f"{name}: has no dataset '{dataset}', which schema {schema} requires. It is of "
                "another version, or was changed. Delete it and run Snakemake again."
            )
        item = file[dataset]
        item_kind = "str" if h5py.check_string_dtype(item.dtype) else str(item.dtype)
        matches = len(item.shape) == len(shape) and all(
            length == (lengths.setdefault(axis, length) if isinstance(axis, str) else axis)
            for length, axis in zip(item.shape, shape, strict=True)
        )
        if item_kind != kind or not matches:
            expected = ", ".join(
                f"{axis}={lengths[axis]}" if axis in lengths else str(axis) for axis in shape
            )
            raise UserError(
                f"{name}: dataset '{dataset}' is {item_kind} {item.shape}, but schema {schema} "
                f"expects {kind} ({expected}). Delete it and run Snakemake again."
            )
