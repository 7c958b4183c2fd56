"""Figure 3: examples of multi-task networks."""

import timm
import torch
from advrob import diagrams, plotting
from advrob.diagrams import Layer
from advrob.job import run
from advrob.training.multitask import MultiTaskNetwork


def layers(architecture: str, heads: dict[str, int], size: int) -> tuple[list[Layer], list[Layer]]:
    """The layers of the trunk and of the heads."""
    # On this device modules and tensors have shapes but no values.
    with torch.device("meta"):
        trunk = timm.create_model(architecture, num_classes=0)
        network = MultiTaskNetwork(trunk, trunk.num_features, heads).eval()
        images = torch.empty(1, 3, size, size)
    found = diagrams.trace(network, images, depth=3, call=network.tasks)
    return [layer for layer in found if layer.path.startswith("trunk")], found[-len(heads) :]


def main(
    *, architecture: str, examples: list[dict[str, int]], size: int, pdf: str, png: str
) -> str:
    """Draw the trunk once and the networks that have the tasks of each example.

    Args:
        architecture: the trunk's name in timm.
        examples: task -> classes, the main task first.
        size: side of the images in pixels.
        pdf: the figure.
        png: the figure again.
    """
    networks = [layers(architecture, heads, size) for heads in examples]
    chain = [diagrams.image((3, size, size)), *networks[0][0]]
    pitch = 0.82
    drawing = diagrams.Drawing(0.2 + pitch * len(chain), 5.2)
    drawing.text(0.15, 5.0, "Shared trunk", 10, ha="left", weight="bold")
    drawing.chain(chain, 0.1, 3.6, pitch=pitch)
    drawing.text(0.15, 2.15, "Networks with this trunk", 10, ha="left", weight="bold")
    for number, (trunk, heads) in enumerate(networks):
        total = sum(layer.parameters for layer in trunk)
        root = ("trunk", diagrams.sizes(trunk[-1].shape), diagrams.count(total))
        leaves = [
            (
                (layer.path.partition(".")[2], f"{layer.shape[0]} classes"),
                diagrams.PURPLE if auxiliary else diagrams.ORANGE,
            )
            for auxiliary, layer in enumerate(heads)
        ]
        drawing.fan(0.15 + 3.1 * number, 1.05, root, leaves)
    plotting.save(drawing.figure, pdf=pdf, png=png)
    return f"Figure 3: {len(examples)} networks on {architecture}"


if __name__ == "__main__":
    run(main)
