"""Score one network on one data set."""

from advrob import networks
from advrob.evaluation.scoring import predict, score_arrays
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

        def reseed(start: int) -> None:
            built.defence.generator = job.generator("score", dataset, *name, start)

        part = sharding.part(scatteritem, len(source["images"]), job.batch_size)
        job.announce(f"score {'/'.join(name)} on {dataset}", part.stop - part.start)
        options = {"reseed": reseed, "batch_size": job.batch_size, "device": job.device}
        repeated = [built] * (draws if built.defence.stochastic else 1)
        found = predict(repeated, source["images"], part=part, name="/".join(name), **options)
        arrays = score_arrays(source, part, *found)
    params = networks.params(network) | {"dataset": dataset}
    store.save(scores, "scores/1", arrays, seed=job.seed, params=params, source=images)
    return f"{dataset} through {'/'.join(name)}: {arrays['draws'].mean():.2%} right"


if __name__ == "__main__":
    run(main)
