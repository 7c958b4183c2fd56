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
        selected = read_sample(source, job.seed, **sample)
        job.log_start(f"check {'/'.join(names)}", len(selected))
        pixels = to_tensor(selected.images[:], job.device)
    results = checkup(built, pixels, selected.targets.to(job.device), generator=draws)
    save_records(findings, results, **networks.params(network, sample=sample, seed=job.seed))
    problems = [each for each in results if each.level != "passed"]
    summary = "; ".join(f"{each.name}: {each.found}" for each in problems)
    return f"{'/'.join(names)}: {summary or 'everything as it should be'}"


if __name__ == "__main__":
    run(main)
