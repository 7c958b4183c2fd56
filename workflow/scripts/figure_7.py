"""Figure 7: the paper's models, as the configuration has them."""

import torch

from advrob.figures import diagrams, plotting
from advrob.figures.diagrams import Layer
from advrob.job import compute
from advrob.job.script import run
from advrob.networks import build_defence, build_model
from advrob.plan.plan import NetworkDescription
from advrob.training import multitask
from advrob.training.gan import Generator

# Images at a time: unlike any other length inside a network, which is what `narrowest` needs.
BATCH = 5


def main(
    *,
    networks: dict[str, NetworkDescription],
    architecture: str,
    tasks: list[str],
    size: int,
    device: str,
    pdf: str,
    png: str,
) -> str:
    """Draw a model behind each defence, and those that are to be robust by their training.

    Args:
        networks: defence -> the model behind it; one of them is without a defence.
        architecture: the multi-task network's trunk, in timm.
        tasks: its auxiliary tasks.
        size: side of the images in pixels.
        device: where the model and the defences run.
        pdf: the figure.
        png: the figure again.
    """
    place = compute.device(device)
    images = torch.zeros(BATCH, 3, size, size, device=place)
    codes = {}
    undefended = networks.pop("none")
    model = undefended["model"]
    defences = {name: network["defence_settings"] for name, network in networks.items()}
    for name, network in networks.items():
        generator = compute.generator(0, "figure", name, device=place)
        defence = build_defence(network, generator=generator, device=place)
        codes[name] = diagrams.narrowest(defence, images)
    classifier_model = build_model(undefended, device=place)
    (classifier,) = diagrams.trace(classifier_model, images, depth=0)

    # On this device modules and tensors have shapes but no values.
    with torch.device("meta"):
        source, multitasked = Generator(size=size), multitask.build(architecture, tasks).eval()
        vectors, pictures = torch.empty(2, source.latent), torch.empty(2, 3, size, size)
    trunk, heads = diagrams.trace_tasks(multitasked, pictures)

    # Inches: the rows of the lower half, from below.
    multitask_row = 0.1 + 0.27 * len(heads)
    adversarial_row = 2 * multitask_row + 0.35
    middle = adversarial_row + 0.65
    drawing = diagrams.Drawing(7.6, middle + 0.66 * len(defences) + 0.7)
    drawing.heading(drawing.height - 0.2, "Reactive: a defence in front of a pretrained model")
    drawing.defended(
        {name: (settings, codes[name]) for name, settings in defences.items()},
        tuple(images.shape[1:]),
        Layer(model, (model, "unchanged"), classifier.shape, classifier.parameters),
        drawing.height - 0.4,
    )
    drawing.heading(middle, "Preventive: a model that is trained to be robust")
    drawing.adversarial_training(
        diagrams.together(diagrams.trace(source, vectors), "generator"),
        Layer(model, (model, "trained on both"), classifier.shape, classifier.parameters),
        source.latent,
        adversarial_row,
    )
    drawing.box((0.6, multitask_row), 0.9, 0.54, ("image", diagrams.sizes(pictures.shape[1:])))
    drawing.arrow((1.08, multitask_row), (1.37, multitask_row))
    drawing.tasks(1.4, multitask_row, diagrams.together(trunk, "shared trunk"), heads)
    plotting.save(drawing.figure, pdf=pdf, png=png)
    return f"Figure 7: {model} behind {len(defences)} defences"


if __name__ == "__main__":
    run(main)
