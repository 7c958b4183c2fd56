"""Attack one network with growing radii and growing effort."""

from pathlib import Path

import numpy as np

from advrob import networks
from advrob.evaluation.adaptive import budgets, trials
from advrob.evaluation.samples import read_sample
from advrob.files import store
from advrob.job.compute import Job
from advrob.job.script import run
from advrob.plan.plan import NetworkDescription


def main(
    *,
    images: str,
    budget: str,
    network: NetworkDescription,
    settings: dict,
    sample: dict,
    job: Job,
    checkpoint: Path,
) -> str:
    """Auto-PGD on a network within each of several radii, and by several efforts."""
    name = (network["model"], network["defence"])
    built, tried = networks.build(network, device=job.device, mixed=True), trials(settings)
    options = {"draws": settings["draws"], "job": job, "identity": ("budget", *name)}
    with store.read(images, "images/1") as source:
        chosen = read_sample(source, job.seed, **sample)
        job.announce(f"{len(tried)} attacks on {'/'.join(name)}", len(chosen), mixed=True)
        correct, lengths = budgets(built, chosen, tried, **options, checkpoint=checkpoint)
    radii, efforts = np.array(settings["radii"], np.float64), np.array(settings["efforts"])
    by_radius, by_effort = np.split(correct, [len(radii)])
    arrays = {"radii": radii, "correct": by_radius, "efforts": efforts, "gradients": lengths}
    arrays |= {"correct_effort": by_effort, "ids": chosen.arrays["ids"]}
    params = {"model": name[0], "defence": name[1], **settings}
    store.save(budget, "budget/1", arrays, seed=job.seed, params=params, source=images)
    return f"{'/'.join(name)}: right within the largest radius: {by_radius[-1].mean():.1%}"


if __name__ == "__main__":
    run(main)
