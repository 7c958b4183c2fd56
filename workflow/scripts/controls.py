"""Score a network on random changes as large as those of the attacks that know it."""

from pathlib import Path

from advrob.evaluation.controls import control_scores
from advrob.evaluation.samples import read_sample
from advrob.files import store
from advrob.job.compute import Job
from advrob.job.script import run
from advrob.plan.plan import NetworkDescription
from advrob.probing import ready


def main(
    *,
    images: str,
    attacked: list[str],
    controls: str,
    network: NetworkDescription,
    norms: list[str],
    sample: dict,
    job: Job,
) -> str:
    """Measure the changes in each file of ``attacked``, and score a network on random ones."""
    name = (network["model"], network["defence"])
    attacks = [(Path(path).stem, path, norm) for path, norm in zip(attacked, norms, strict=True)]
    with ready(network, images, job) as (built, source):
        selected = read_sample(source, job.seed, **sample)
        job.log_start(
            f"random changes like those of {len(attacks)} attacks on {'/'.join(name)}",
            len(selected),
        )
        arrays = control_scores(built, selected, attacks, job=job, identity=name)
    params = {"model": name[0], "defence": name[1], "norms": norms, "sample": sample}
    store.save(controls, "controls/1", arrays, seed=job.seed, params=params, source=images)
    return f"{'/'.join(name)}: {arrays['correct'].mean():.1%} right under random changes"


if __name__ == "__main__":
    run(main)
