"""Attack one network with growing radii and growing effort."""

from pathlib import Path

from advrob.evaluation.adaptive import budgets
from advrob.evaluation.samples import read_sample
from advrob.files import store
from advrob.job.compute import Job
from advrob.job.script import Options, run
from advrob.plan.plan import NetworkDescription
from advrob.probing import ready


def main(
    *,
    images: str,
    budget: str,
    network: NetworkDescription,
    experiment: dict,
    sample: dict,
    job: Job,
    checkpoint: Path,
) -> str:
    """Auto-PGD on a network within each of several radii, and by several efforts."""
    name = (network["model"], network["defence"])
    options: Options = {"job": job, "identity": ("budget", *name)}
    with ready(network, images, job, mixed=True) as (built, source):
        selected = read_sample(source, job.seed, **sample)
        job.log_start(f"radii and efforts against {'/'.join(name)}", len(selected), mixed=True)
        arrays = budgets(built, selected, experiment, **options, checkpoint=checkpoint)
    params = {"model": name[0], "defence": name[1], "sample": sample, **experiment}
    store.save(budget, "budget/1", arrays, seed=job.seed, params=params, source=images)
    return f"{'/'.join(name)}: {arrays['correct'][-1].mean():.1%} hold within the largest radius"


if __name__ == "__main__":
    run(main)
