"""Score one network on one data set or several."""

from advrob import networks
from advrob.evaluation.scoring import score_arrays
from advrob.files import sharding, store
from advrob.job.compute import Job
from advrob.job.script import run
from advrob.plan.plan import NetworkDescription
from advrob.probing import ready


def main(
    *,
    images: list[str],
    scores: list[str],
    datasets: list[str],
    network: NetworkDescription,
    draws: int,
    job: Job,
    scatteritem: str = sharding.WHOLE,
) -> str:
    """Predict each image, or those of a shard, of the files ``images`` by a network."""
    name = (network["model"], network["defence"])
    accuracies = []
    with ready(network, images[0], job) as (built, _):
        for dataset, path, output in zip(datasets, images, scores, strict=True):
            with store.read(path, "images/1") as source:
                n = len(source["images"])  # of a sample, maybe: fewer batches than shards
                part = sharding.part(scatteritem, n, job.batch_size, may_be_empty=True)
                job.log_start(f"score {'/'.join(name)} on {dataset}", part.stop - part.start)
                arrays = score_arrays(built, source, part, draws, job, ("score", dataset, *name))
            params = networks.params(network, dataset=dataset, draws=len(arrays["draws"]))
            store.save(output, "scores/1", arrays, seed=job.seed, params=params, source=path)
            share = f"{arrays['draws'].mean():.2%}" if len(arrays["ids"]) else "(no image in shard)"
            accuracies.append(f"{dataset} {share}")
    return f"{'/'.join(name)} is right on {', '.join(accuracies)}"


if __name__ == "__main__":
    run(main)
