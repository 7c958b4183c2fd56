"""Train a generator of perturbations against a network."""

from pathlib import Path

from advrob import networks
from advrob.files import rows, store
from advrob.job.compute import Job
from advrob.job.script import Options, run
from advrob.models.prediction import predict
from advrob.plan.plan import NetworkDescription
from advrob.probing import ready
from advrob.training.gan import train_generator


def main(
    *,
    images: str,
    generator: str,
    network: NetworkDescription,
    entry: dict,
    job: Job,
    checkpoint: Path,
) -> str:
    """Find what draws perturbations that fool a network on the file ``images``."""
    name = (network["model"], network["defence"])
    draws = job.cpu_generator("gan", *name)
    options: Options = {"device": job.device, "generator": draws, "checkpoint": checkpoint}
    options |= {key: value for key, value in entry.items() if key != "images"}
    with ready(network, images, job, generator=draws, mixed=True) as (built, source):
        pixels = rows.first_rows(source["images"], entry["images"])
        job.log_start(f"train a generator against {'/'.join(name)}", len(pixels), mixed=True)
        (own,), _ = predict([built], pixels, batch_size=job.batch_size, device=job.device)
        arrays = train_generator(built, pixels, own, **options)
    params = networks.params(network, "gan") | entry
    store.save(generator, "state/1", arrays, seed=job.seed, params=params, source=images)
    return f"{'/'.join(name)}: cross-entropy {arrays['training_curve'][-1, -1]:.2f} under attack"


if __name__ == "__main__":
    run(main)
