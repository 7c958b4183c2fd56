"""Figure 3: examples of multi-task networks."""

import torch

from advrob.figures import diagrams, layers, models, plotting
from advrob.job.script import run
from advrob.training import multitask


def main(*, architecture: str, examples: list[list[str]], size: int, pdf: str, png: str) -> str:
    """Draw the trunk once and the networks that have the tasks of each example.

    Args:
        architecture: the trunk's name in timm.
        examples: auxiliary tasks of each.
        size: side of the images in pixels.
        pdf: the figure.
        png: the figure again.
    """
    # On this device modules and tensors have shapes but no values.
    with torch.device("meta"):
        built = [multitask.build(architecture, dict.fromkeys(tasks)).eval() for tasks in examples]
        images = torch.empty(1, 3, size, size)
    networks = [models.trace_tasks(network, images) for network in built]
    chain = [layers.image((3, size, size)), *networks[0][0]]
    pitch = 0.82
    drawing = diagrams.Drawing(0.2 + pitch * len(chain), 5.2)
    drawing.heading(5.0, f"Shared trunk: {architecture}")
    drawing.chain(chain, 0.1, 3.6, pitch=pitch)
    drawing.heading(2.15, "Networks with this trunk")
    for number, (trunk, heads) in enumerate(networks):
        left = 0.15 + 3.1 * number
        models.draw_tasks(drawing, left, 1.05, layers.together(trunk, "trunk"), heads)
    plotting.save(drawing.figure, pdf=pdf, png=png)
    return f"Figure 3: {len(examples)} networks on {architecture}"


if __name__ == "__main__":
    run(main)
