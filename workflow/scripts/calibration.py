"""Measure the configured attacks against networks whose robustness is known exactly."""

from advrob.evaluation.benchmark import (
    calibrated_attacks,
    known_networks,
    measure,
    reduced,
)
from advrob.evaluation.samples import read_sample
from advrob.files import store
from advrob.files.records import save_records
from advrob.job.compute import Job
from advrob.job.script import run


def main(
    *, images: str, records: str, attacks: dict, experiment: dict, sample: dict, job: Job
) -> str:
    """Attack the honest network and its masked twins on a ``sample`` of the file ``images``."""
    with store.read(images, "images/1") as source:
        chosen = read_sample(source, job.seed, **sample)
        job.log_start(f"calibrate {len(attacks)} attacks", len(chosen))
        pixels = reduced(chosen.images[:], experiment["size"])
    makers = calibrated_attacks(attacks)
    networks = known_networks(pixels, chosen.labels, experiment["twins"], job)
    found = measure(networks, pixels, chosen.labels, makers, experiment["radii"], job)
    save_records(records, found, seed=job.seed, attacks=attacks, settings=experiment)
    violated = sum(record.violated for record in found)
    return f"{len(networks)} networks, {len(found)} measurements; truth violated {violated} times"


if __name__ == "__main__":
    run(main)
