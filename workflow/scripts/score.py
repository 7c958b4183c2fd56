"""Score one network on one data set."""

from advrob import networks
from advrob.evaluation.scoring import score_arrays
from advrob.files import sharding, store
from advrob.job.compute import Job
from advrob.job.script import run
from advrob.plan.plan import NetworkDescription
from advrob.probing import ready


def main(
    *,
    images: str,
    scores: str,
    dataset: str,
    network: NetworkDescription,
    draws: int,
    job: Job,
    scatteritem: str = sharding.WHOLE,
) -> str:
    """Predict each image, or those of a shard, of the file ``images`` by a network."""
    name = (network["model"], network["defence"])
    with ready(network, images, job) as (built, source):
        # Attacks are of a sample: it may have fewer batches than there are shards.
        n = len(source["images"])
        part = sharding.part(scatteritem, n, job.batch_size, may_be_empty=True)
        job.log_start(f"score {'/'.join(name)} on {dataset}", part.stop - part.start)
        arrays = score_arrays(built, source, part, draws, job, ("score", dataset, *name))
    about = {"params": networks.params(network) | {"dataset": dataset}, "source": images}
    store.save(scores, "scores/1", arrays, seed=job.seed, **about)
    right = f"{arrays['draws'].mean():.2%} right" if len(arrays["ids"]) else "none of the images"
    return f"{dataset} through {'/'.join(name)}: {right}"


if __name__ == "__main__":
    run(main)
