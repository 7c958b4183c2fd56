"""Make images that a network gets wrong, by an attack that knows its defence."""

from pathlib import Path

from advrob import networks
from advrob.evaluation.adaptive import attacked_images
from advrob.evaluation.samples import read_sample
from advrob.files import store
from advrob.job.compute import Job
from advrob.job.script import Options, run
from advrob.plan.plan import NetworkDescription
from advrob.probing import ready


def main(
    *,
    images: str,
    dataset: str,
    attack: str,
    network: NetworkDescription,
    entry: dict,
    sample: dict,
    draws: int,
    job: Job,
    checkpoint: Path,
) -> str:
    """Attack a network with a ``sample`` of the file ``images``."""
    identity = (attack, network["model"], network["defence"])
    options: Options = {"draws": draws, "job": job, "identity": identity, "checkpoint": checkpoint}
    with ready(network, images, job, mixed=True) as (built, source):
        selected = read_sample(source, job.seed, **sample)
        job.log_start(f"{attack} against {'/'.join(identity[1:])}", len(selected), mixed=True)
        arrays = attacked_images(built, selected, attack, entry, **options)
        params = networks.params(network, attack, attack=entry, sample=sample, draws=draws)
        store.save(dataset, "images/1", arrays, seed=job.seed, params=params, source=images)
    return f"{params['dataset']}: at most {arrays['distances'].max():g}/255 from the originals"


if __name__ == "__main__":
    run(main)
