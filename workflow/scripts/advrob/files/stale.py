"""Results that Snakemake has no record of, compared with what the plan would make.

Snakemake keeps in its folder ``.snakemake`` what a result was made with, and takes results that it
has no record of for current: where that folder was deleted, or not copied along, another seed would
change nothing. Results know themselves what they were made with.
"""

import os
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from advrob.errors import UserError
from advrob.job.disk import explain_write_errors
from advrob.plan.contents import by_content
from advrob.plan.names import GAN, GRADIENT, ORIGINAL, PUBLISHED, UNIVERSAL, DataSet, Network
from advrob.plan.plan import CHECKUP_IMAGES, Plan

# What a description of a network has that `advrob.networks.params` puts into files.
_NETWORK = ("model", "defence", "model_settings", "defence_settings")
# Characters of a name in Snakemake's folder; of a longer one each part but the last has a sign.
_LONGEST = 254
# The folders of results that are made again where Snakemake has no record of them.
_MADE_AGAIN = ("tables", "figures")
# How many files a message names.
_NAMED = 3


def unrecorded(
    results: str | Path = "results", metadata: str | Path = ".snakemake/metadata"
) -> list[str]:
    """Results that Snakemake has no record of.

    Args:
        results: the folder.
        metadata: Snakemake's records.

    Returns:
        Their paths, sorted.
    """
    folder = Path(metadata)
    recorded = {record.name for record in folder.iterdir()} if folder.is_dir() else set()

    def is_recorded(path: str) -> bool:
        name = urlsafe_b64encode(path.encode("utf-8", "surrogateescape")).decode()
        if len(name) <= _LONGEST:
            return name in recorded
        parts = [name[i : i + _LONGEST] for i in range(0, len(name), _LONGEST)]
        return Path(metadata, *(f"@{part}" for part in parts[:-1]), parts[-1]).exists()

    return sorted(path for path in _files(results) if not is_recorded(path))


def _files(results: str | Path) -> Iterator[str]:
    for folder, _, names in os.walk(results):
        for name in names:
            if not name.startswith("."):
                yield f"{folder}/{name}"


def outdate(paths: list[str]) -> None:
    """Have Snakemake make tables and figures again, if they are asked for.

    They do not say what they were made with, and are made in seconds: they get the oldest of times,
    so that what they are made from is newer.

    Args:
        paths: of results, such as `unrecorded` gives.

    Raises:
        UserError: this is not allowed.
    """
    for path in paths:
        if Path(path).parts[1] in _MADE_AGAIN:
            with explain_write_errors(Path(path)):
                os.utime(path, (0, 0))


def check(plan: Plan, paths: list[str]) -> None:
    """Refuse results that were made with something else than the plan has.

    Args:
        plan: what is run.
        paths: of the results, such as `unrecorded` gives. What does not say what it was made with,
            or is of a network or data set that the plan does not have, is passed over.

    Raises:
        UserError: some were.
    """
    expected_params = {
        path: by_content(expected) | {"seed": plan["seed"]}
        for path in paths
        if (expected := made_with(plan, path)) is not None
    }
    if not expected_params:
        return
    # Not before it is needed: the Snakefile is read for every job.
    from advrob.files.provenance import difference

    differing: dict[str, str] = {}
    for path, expected in expected_params.items():
        # What is damaged is said by the job that reads it.
        with suppress(UserError):
            if differs := difference(_stored(path), expected):
                differing[path] = differs
    if differing:
        first, *_ = differing
        more = len(differing) - _NAMED
        raise UserError(
            f"{first}: was made with {differing[first]}. Snakemake has no record of it, since its "
            "folder .snakemake was deleted or not copied along, and would treat it as up to date. "
            f"Delete {', '.join([*differing][:_NAMED])}{f' and {more} more' if more > 0 else ''}, "
            "or the whole folder, and run the same command again."
        )


def _stored(path: str) -> dict[str, Any]:
    """What a result says that it was made with, its seed included."""
    from advrob.files import provenance, records, store

    if path.endswith(".json"):
        return records.load_records(path)[0]
    with store.read(path, None, about={}) as file:
        return provenance.params(file) | {"seed": file.attrs["seed"].item()}


def made_with(plan: Plan, path: str) -> dict[str, Any] | None:
    """The parameters that a result says it was made with, if the plan would make it.

    Args:
        plan: what is run.
        path: of the result, beginning with the folder of results.

    Returns:
        Some of them; None for what does not say it, or is of something that the plan does not have.
    """
    _, *folders, name = Path(path).parts
    stem, _, ending = name.rpartition(".")
    if ending == "json":
        return _records(plan, folders, stem)
    if ending != "h5":
        return None
    match folders:
        case ["images"] if stem in ("test", "fit"):
            return _images(plan, stem)
        case ["datasets" | "perturbations" | "generators"]:
            return _data_set(plan, stem)
        case ["defences", "shared"] if stem in plan["defences"]:
            return {"defence": stem, **plan.defence_settings(stem)}
        case ["models"] if stem in plan["models"] and plan.is_trained(stem):
            return {"model": stem, "model_settings": plan.model_settings(stem)}
        case ["scores", dataset, model] if stem == "sweep-noise" and model in plan["models"]:
            return {
                "model": model,
                "model_settings": plan.model_settings(model),
                "dataset": dataset,
                "magnitudes": plan["experiments.noise_magnitudes"],
            }
        case ["scores" | "certified" as of, dataset, model]:
            return _on(plan, of, dataset, Network(model, stem))
        case ["certified" as of, dataset]:
            return _on(plan, of, dataset, Network(stem))
        case ["budgets" | "controls" as of, model] if _network(plan, Network(model, stem)):
            norms = {"norms": [attack.norm for attack in plan.attacks.values()]}
            experiment = plan.protocol("robustness") if of == "budgets" else norms
            return {"model": model, "defence": stem, "sample": _attacked(plan), **experiment}
        case ["analysis", "vector_space"] if stem in plan["models"]:
            experiment = plan["experiments.vector_space"]
            return {"model": stem, "model_settings": plan.model_settings(stem), **experiment}
    return None


def _records(plan: Plan, folders: list[str], stem: str) -> dict[str, Any] | None:
    """Of a check-up, or of the calibration of the attacks."""
    match folders:
        case ["checkups", model]:
            network = _network(plan, Network(model, stem))
            return network and network | {"sample": plan.sample(CHECKUP_IMAGES)}
        case [] if stem == "calibration":
            return {"attacks": plan.calibrated, "settings": plan["experiments.calibration"]}
    return None


def _network(plan: Plan, network: Network) -> dict[str, Any] | None:
    if network.model not in plan["models"] or network.defence not in plan["defences"]:
        return None
    described: Mapping[str, Any] = plan.describe(network)
    return {key: described[key] for key in _NETWORK}


def _images(plan: Plan, part: str) -> dict[str, Any]:
    return {key: plan["images"][key] for key in ("size", "layout", "broken", part)}


def _data_set(plan: Plan, name: str) -> dict[str, Any] | None:
    """Of a data set, and of the perturbation or the generator behind it."""
    try:
        dataset = DataSet.parse(name)
    except ValueError:
        return None
    if dataset.family == ORIGINAL:
        if dataset.tuning:
            return {"limit": plan["experiments.settings.images"]}
        return _images(plan, "test")
    if dataset.family == PUBLISHED:
        return (plan["perturbations.published"] or {}).get(dataset.label)
    network = _network(plan, dataset.target) if dataset.target else None
    if network is None:
        return None
    if dataset.family in (UNIVERSAL, GRADIENT, GAN):
        return network | plan["perturbations"][dataset.family]
    if dataset.family in plan["perturbations.untargeted"]:
        return network | {
            "attack": dict(plan.attack(dataset.family).entry),
            "sample": _attacked(plan),
            "draws": plan["experiments.robustness.draws"],
        }
    return None


def _on(plan: Plan, folder: str, dataset: str, network: Network) -> dict[str, Any] | None:
    """Of a network on a data set: its score or its certificates."""
    params = _network(plan, network)
    if params is None:
        return None
    params["dataset"] = dataset
    smoothing = plan.protocol("smoothing")
    if folder == "scores":
        draws = plan["experiments.draws"] if plan.is_stochastic(network.defence) else 1
        return params | {"draws": draws}
    if smoothing:
        params |= {"sample": plan.sample(smoothing["images"]), **smoothing}
    return params


def _attacked(plan: Plan) -> dict[str, Any]:
    """The test images that are attacked."""
    return plan.sample(plan["experiments.robustness.images"])
