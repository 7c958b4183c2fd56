"""Certify a network's predictions under Gaussian noise."""

from pathlib import Path

from advrob import networks
from advrob.evaluation.certified import certificate_arrays
from advrob.evaluation.samples import read_sample
from advrob.files import store
from advrob.job.compute import Job
from advrob.job.script import Options, run
from advrob.plan.plan import NetworkDescription
from advrob.probing import ready


def main(
    *,
    images: str,
    certified: str,
    dataset: str,
    network: NetworkDescription,
    experiment: dict,
    sample: dict,
    job: Job,
    checkpoint: Path,
) -> str:
    """Certify a ``sample`` of the file ``images`` for each sigma, in units of 1/255."""
    identity = (dataset, network["model"], network["defence"])
    name = "/".join(identity[1:])
    with ready(network, images, job) as (built, source):
        selected = read_sample(source, job.seed, **sample)
        job.log_start(f"certify {name} on {dataset}", len(selected))
        options: Options = {"job": job, "identity": identity, "checkpoint": checkpoint}
        arrays = certificate_arrays(built, selected, experiment, **options)
    params = networks.params(network, dataset=dataset, sample=sample, **experiment)
    store.save(certified, "certified/1", arrays, seed=job.seed, params=params, source=images)
    return f"{name}: {(arrays['predicted'] == selected.labels).mean():.1%} certified and right"


if __name__ == "__main__":
    run(main)
