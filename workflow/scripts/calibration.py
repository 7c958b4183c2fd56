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
        selected = read_sample(source, job.seed, **sample)
        job.log_start(f"calibrate {len(attacks)} attacks", len(selected))
        pixels = reduced(selected.images[:], experiment["size"])
    makers = calibrated_attacks(attacks)
    networks = known_networks(pixels, selected.labels, experiment["twins"], job)
    measurements = measure(networks, pixels, selected.labels, makers, experiment["radii"], job)
    save_records(records, measurements, seed=job.seed, attacks=attacks, settings=experiment)
    violated = sum(record.violated for record in measurements)
    count = len(measurements)
    return f"{len(networks)} networks, {count} measurements; truth violated {violated} times"


if __name__ == "__main__":
    run(main)
