"""Look a network over before it is evaluated."""

from advrob import networks
from advrob.evaluation.checkup import checkup
from advrob.evaluation.samples import read_sample
from advrob.files import store
from advrob.files.records import save_records
from advrob.images.pixels import to_tensor
from advrob.job.compute import Job
from advrob.job.script import run
from advrob.plan.plan import NetworkDescription


def main(*, images: str, findings: str, network: NetworkDescription, sample: dict, job: Job) -> str:
    """Check what a network answers on a ``sample`` of the file ``images``."""
    names = (network["model"], network["defence"])
    draws = job.generator("checkup", *names)
    built = networks.build(network, generator=draws, device=job.device)
    with store.read(images, "images/1") as source:
        chosen = read_sample(source, job.seed, **sample)
        job.log_start(f"check {'/'.join(names)}", len(chosen))
        pixels = to_tensor(chosen.images[:], job.device)
    found = checkup(built, pixels, chosen.targets.to(job.device), generator=draws)
    save_records(findings, found, model=names[0], defence=names[1], seed=job.seed)
    lacking = [each for each in found if each.level != "passed"]
    said = "; ".join(f"{each.name}: {each.found}" for each in lacking)
    return f"{'/'.join(names)}: {said or 'everything as it should be'}"


if __name__ == "__main__":
    run(main)
