"""A universal perturbation of a configured network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from advrob import networks
from advrob.attacks.universal.search import Universal, UniversalMethod, search
from advrob.files.rows import first_rows
from advrob.images.artificial import Jigsaws
from advrob.job import compute
from advrob.job.compute import Job
from advrob.plan.names import UNIVERSAL
from advrob.plan.plan import NetworkDescription
from advrob.plug_ins import load
from advrob.probing import probe

# Keys of the configuration that are the search's and not the method's.
SEARCH = ("norm", "radius", "fooling_rate", "passes")
# Keys that are neither's.
OTHERS = ("method", "images", "source")


def universal_perturbation(
    network: NetworkDescription,
    own: h5py.File,
    held_out: h5py.File,
    entry: Mapping[str, Any],
    *,
    job: Job,
    checkpoint: Path,
) -> tuple[Universal, dict[str, Any]]:
    """Search for a perturbation as it is configured.

    Args:
        network: the description of the network to fool.
        own: an open file of images to make it from.
        held_out: one of others, to measure it on.
        entry: the configuration's ``perturbations.universal``.
        job: seed, device and batch size.
        checkpoint: a file to resume from, and to keep up to date.

    Returns:
        The perturbation, and the attributes of its file.
    """
    options = {key: value for key, value in entry.items() if key not in OTHERS}
    search_options = {key: options.pop(key) for key in SEARCH if key in options}
    method: UniversalMethod = load("universal", entry["method"])(**options)
    identity = ("universal", network["model"], network["defence"])
    noise = job.generator(*identity, "defence")
    built = networks.build(network, generator=noise, device=job.device, mixed=method.mixed)
    probe(built, network, held_out)
    # Not read here: their number is the user's, the memory is not.
    pixels = first_rows(own["images"], entry.get("images"))
    if entry.get("source") == "noise":
        count, side, *_ = pixels.shape
        pixels = first_rows(Jigsaws(count, side, job.seed), None)
    job.log_start(
        f"universal perturbation by {entry['method']} against {'/'.join(identity[1:])}",
        len(pixels),
        mixed=method.mixed,
    )
    universal = search(
        method,
        built,
        pixels,
        held_out["images"],
        device=job.device,
        generator=compute.generator(job.seed, *identity),
        batch_size=min(job.batch_size, method.largest_batch or job.batch_size),
        noise=noise,
        checkpoint=checkpoint,
        **search_options,
    )
    hits = (
        {}
        if universal.hit_rate is None
        else {
            "hit_rate": universal.hit_rate,
            "hit_rate_held_out": universal.hit_rate_held_out,
        }
    )
    return universal, {
        "params": networks.params(network, UNIVERSAL) | dict(entry),
        "norm": entry["norm"],
        "radius": entry["radius"],
        "fooling_rate": universal.fooling_rate,
        "fooling_rate_held_out": universal.fooling_rate_held_out,
        **hits,
    }
