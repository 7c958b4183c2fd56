"""Make images that lead a network to classes drawn at random."""

from pathlib import Path

from advrob import networks
from advrob.evaluation.targeted import targeted_images
from advrob.files import sharding, store
from advrob.job.compute import Job
from advrob.job.script import Options, run
from advrob.plan.plan import NetworkDescription
from advrob.probing import ready


def main(
    *,
    images: str,
    dataset: str,
    network: NetworkDescription,
    entry: dict,
    job: Job,
    checkpoint: Path,
    scatteritem: str = sharding.WHOLE,
) -> str:
    """Attack a network with each image, or those of a shard, of the file ``images``."""
    name = (network["model"], network["defence"])
    params = networks.params(network, "gradient") | entry
    options: Options = {"job": job, "identity": name, "checkpoint": checkpoint}
    with ready(network, images, job, mixed=True) as (built, source):
        part = sharding.part(scatteritem, len(source["images"]), job.batch_size)
        job.log_start(f"targeted attack on {'/'.join(name)}", part.stop - part.start, mixed=True)
        arrays = targeted_images(built, source, part, entry, **options)
    rate = arrays["reached"].mean()
    about: Options = {"seed": job.seed, "params": params, "source": images}
    store.save(dataset, "images/1", arrays, **about, hit_rate=rate)
    return f"{'/'.join(name)}: {rate:.1%} of the images reach their target"


if __name__ == "__main__":
    run(main)
