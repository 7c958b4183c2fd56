"""Figure 7: the paper's models, as the configuration has them."""

from advrob import models
from advrob.figures import layers, plotting
from advrob.figures.models import overview
from advrob.job.compute import Job
from advrob.job.script import run
from advrob.networks import build_defence
from advrob.plan.plan import NetworkDescription


def main(
    *,
    undefended: NetworkDescription,
    networks: dict[str, NetworkDescription],
    architecture: str,
    tasks: list[str],
    size: int,
    job: Job,
    pdf: str,
    png: str,
) -> str:
    """Draw a model behind each defence, and those that are to be robust by their training."""
    name, shape = undefended["model"], (3, size, size)
    inner = {}
    for defence, network in networks.items():
        generator = job.generator("figure", defence)
        built = build_defence(network, generator=generator, device=job.device)
        inner[defence] = network["defence_settings"], layers.narrowest(built, shape, job.device)
    model = models.build(name, undefended["model_settings"], job.device, fold=False)
    whole = layers.whole(model, shape, job.device)
    drawing = overview(name, whole, inner, architecture=architecture, tasks=tasks, size=size)
    plotting.save(drawing.figure, pdf=pdf, png=png)
    return f"Figure 7: {name} behind {len(networks)} defences"


if __name__ == "__main__":
    run(main)
