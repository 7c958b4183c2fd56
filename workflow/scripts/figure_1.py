"""Figure 1: the convolutional autoencoder."""

import torch

from advrob import defences
from advrob.figures import diagrams, layers, plotting
from advrob.job.script import run


def main(*, entry: dict, size: int, pdf: str, png: str) -> str:
    """Draw the layers of the configured autoencoder for images of ``size`` pixels.

    Args:
        entry: its entry in the configuration.
        size: side of the images in pixels.
        pdf: the figure.
        png: the figure again.
    """
    # On this device modules and tensors have shapes but no values.
    with torch.device("meta"):
        parameters = {name: value for name, value in entry.items() if name != "kind"}
        network = defences.build(entry.get("kind", "conv_autoencoder"), parameters, device="meta")
        images = torch.empty(2, 3, size, size)
    chain = [layers.image((3, size, size)), *layers.trace(network, images)]
    drawing = diagrams.Drawing(0.2 + 0.92 * len(chain), 2.6)
    drawing.chain(chain, 0.1, 1.35)
    plotting.save(drawing.figure, pdf=pdf, png=png)
    return f"Figure 1: {layers.count(sum(layer.parameters for layer in chain))}"


if __name__ == "__main__":
    run(main)
