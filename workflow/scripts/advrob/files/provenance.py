"""What a file says that it was made with, and whether that is what a job expects."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py

from advrob.errors import UserError
from advrob.plan.names import ORIGINAL, TUNING

# How many differences a message names.
_NAMED = 3


def params(file: h5py.File) -> dict[str, Any]:
    """The parameters that a file was computed with."""
    return dict(json.loads(file.attrs["params"]))


def named(path: str | Path) -> dict[str, str]:
    """What the name of a result says that it is about: parameters that it was made with.

    Args:
        path: of the result, or of a shard of it; what is before ``results`` does not matter.

    Returns:
        Its data set, model and defence, as far as its name has them; nothing for other files.
    """
    *folders, name = Path(path).parts
    if "results" not in folders:
        return {}
    below = folders[::-1].index("results")
    match [*folders[len(folders) - below :], Path(name).stem]:
        case ["images", part, *_] | ["datasets", "original" as part, *_]:
            return {"part": "test" if part == ORIGINAL else part}
        case ["datasets" | "perturbations" | "generators", dataset, *_] if dataset != TUNING:
            return {"dataset": dataset.removeprefix(f"{TUNING}-")}
        case ["defences", "shared", defence]:
            return {"defence": defence}
        case ["models", model] | ["analysis", "vector_space", model]:
            return {"model": model}
        case ["scores", dataset, model, "sweep-noise", *_] | ["certified", dataset, model]:
            return {"dataset": dataset, "model": model}
        case ["scores" | "certified", dataset, model, defence, *_]:
            return {"dataset": dataset, "model": model, "defence": defence}
        case ["budgets" | "controls" | "checkups", model, defence]:
            return {"model": model, "defence": defence}
    return {}


def check_params(
    file: h5py.File,
    expected: Mapping[str, Any],
    *,
    seed: int | None = None,
    source: str | None = None,
) -> None:
    """Refuse a file that was made with something else than what a job expects.

    Snakemake knows what a file was made with, but only while its folder ``.snakemake`` is there,
    and not whether another file was put in its place. The file itself says what it is.

    Args:
        file: open for reading.
        expected: some of its parameters. Of a mapping within them all keys count.
        seed: expected, if it matters.
        source: expected, if it matters.

    Raises:
        UserError: a parameter, the seed or the source is another one.
    """
    refuse(file.filename, differs(file, expected, seed=seed, source=source))


def refuse(path: str | Path, differing: str | None) -> None:
    """Refuse a file that differs from what was expected, as `difference` says it."""
    if differing:
        raise UserError(
            f"{path}: was made with {differing}. It replaced another file, or the configuration "
            "changed since. Delete it and run Snakemake again."
        )


def differs(
    file: h5py.File,
    expected: Mapping[str, Any],
    *,
    seed: int | None = None,
    source: str | None = None,
) -> str | None:
    """What a file was made with and what was expected, in words; None if that is the same.

    The arguments are those of `check_params`.
    """
    stored, required = params(file), dict(expected)
    for name, value in (("seed", seed), ("source", source)):
        if value is not None:
            stored[name] = file.attrs[name].item() if name == "seed" else file.attrs[name]
            required[name] = value
    return difference(stored, required)


def difference(stored: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
    """What differs between stored parameters and those that were expected; see `differs`."""
    compared = {name: stored[name] for name in expected if name in stored}
    # As they are stored: tuples are lists there, and keys are text.
    differences = list(_differences(compared, json.loads(json.dumps(expected))))
    if not differences:
        return None
    more = len(differences) - _NAMED
    return (
        f"{_listed([(n, a) for n, a, _ in differences])}, "
        f"expected {_listed([(n, b) for n, _, b in differences])}"
        f"{f', and {more} more' if more > 0 else ''}"
    )


# Where the one mapping lacks a key of the other.
_NOTHING = object()


def _differences(stored: Any, expected: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name, value found and value expected, wherever two trees differ; names as in YAML paths."""
    if isinstance(stored, Mapping) and isinstance(expected, Mapping):
        for key in dict.fromkeys([*expected, *stored]):
            below = f"{name}.{key}" if name else str(key)
            yield from _differences(stored.get(key, _NOTHING), expected.get(key, _NOTHING), below)
    elif stored != expected or isinstance(stored, bool) != isinstance(expected, bool):
        yield name, stored, expected


def _listed(values: list[tuple[str, Any]]) -> str:
    return ", ".join(
        f"no {name}" if value is _NOTHING else f"{name} {json.dumps(value, ensure_ascii=False)}"
        for name, value in values[:_NAMED]
    )
