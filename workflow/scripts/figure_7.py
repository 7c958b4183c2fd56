"""Figure 7: the paper's models, as the configuration has them."""

from advrob import models, networks
from advrob.figures import layers, plotting
from advrob.figures.models import overview
from advrob.job import compute
from advrob.job.script import run


def main(
    *,
    fitted: dict[str, list[str]],
    model: str,
    model_settings: dict,
    defences: dict[str, dict],
    architecture: str,
    tasks: list[str],
    size: int,
    device: str,
    pdf: str,
    png: str,
) -> str:
    """Draw a model behind each defence, and those that are to be robust by their training."""
    place, shape = compute.device(device), (3, size, size)
    inner = {}
    for name, settings in defences.items():
        generator = compute.generator(0, "figure", name, device=place)
        defence = networks.build_defence(
            name, settings, state=fitted[name], generator=generator, device=place
        )
        inner[name] = settings, layers.narrowest(defence, shape, place)
    classifier = layers.whole(models.build(model, model_settings, place), shape, place)
    drawing = overview(model, classifier, inner, architecture=architecture, tasks=tasks, size=size)
    plotting.save(drawing.figure, pdf=pdf, png=png)
    return f"Figure 7: {model} behind {len(defences)} defences"


if __name__ == "__main__":
    run(main)
