"""Score a model behind uniform noise of several magnitudes on one data set."""

from advrob import networks
from advrob.evaluation.sweeps import noisy_networks
from advrob.files import sharding, store
from advrob.job.compute import Job
from advrob.job.script import Options, run
from advrob.models.prediction import predict
from advrob.plan.plan import NetworkDescription


def main(
    *,
    images: str,
    sweep: str,
    dataset: str,
    network: NetworkDescription,
    magnitudes: list[float],
    job: Job,
    scatteritem: str = sharding.WHOLE,
) -> str:
    """Predict ``images``, or a shard, behind noise within each magnitude, in units of 1/255."""
    noisy = noisy_networks(networks.build_model(network, device=job.device), magnitudes, job)
    reseed = noisy.reseed("sweep", dataset, network["model"])
    options: Options = {"batch_size": job.batch_size, "device": job.device, "reseed": reseed}
    with store.read(images, "images/1") as source:
        part = sharding.part(scatteritem, len(source["images"]), job.batch_size)
        count = part.stop - part.start
        job.log_start(f"{network['model']} on {dataset} in {len(magnitudes)} magnitudes", count)
        predictions = predict(noisy.networks, source["images"], part=part, **options)
        arrays = noisy.arrays(source, part, *predictions)
    about = networks.params(network)
    params = {key: about[key] for key in ("model", "model_settings")}
    params |= {"dataset": dataset, "magnitudes": magnitudes}
    store.save(sweep, "sweep/1", arrays, seed=job.seed, params=params, source=images)
    return f"{dataset} through {network['model']}: {arrays['correct'].mean():.2%} right"


if __name__ == "__main__":
    run(main)
