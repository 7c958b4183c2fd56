"""Make a universal perturbation of a network."""

from pathlib import Path

from advrob.evaluation.universal import universal_perturbation
from advrob.files import store
from advrob.job.compute import Job
from advrob.job.script import run
from advrob.plan.plan import NetworkDescription


def main(
    *,
    images: str,
    held_out: str,
    perturbation: str,
    network: NetworkDescription,
    entry: dict,
    job: Job,
    checkpoint: Path,
) -> str:
    """Find what fools a network on the file ``images``; measure it on ``held_out``."""
    with store.read(images, "images/1") as own, store.read(held_out, "images/1") as others:
        result, attributes = universal_perturbation(
            network, own, others, entry, job=job, checkpoint=checkpoint
        )
    arrays = {"perturbation": result.perturbation, "fooling_rate": result.history}
    params = attributes.pop("params")
    about = {"seed": job.seed, "params": params, "source": images}
    store.save(perturbation, "perturbation/1", arrays, **about, **attributes)
    return (
        f"{network['model']}/{network['defence']}: fools {result.fooling_rate:.1%} of its own "
        f"images, {result.fooling_rate_held_out:.1%} of others"
        + ("" if result.hit_rate is None else f"; {result.hit_rate_held_out:.1%} hit the target")
    )


if __name__ == "__main__":
    run(main)
