"""Figure 2: the generative adversarial network."""

import torch

from advrob.figures import diagrams, layers, plotting
from advrob.job.script import run
from advrob.training.gan import Discriminator, Generator


def main(*, size: int, pdf: str, png: str) -> str:
    """Draw both players for images of ``size`` pixels."""
    # On this device modules and tensors have shapes but no values.
    with torch.device("meta"):
        generator, discriminator = Generator(size=size), Discriminator(size=size)
        vectors, images = torch.empty(2, generator.latent), torch.empty(2, 3, size, size)
    rows = (
        [layers.image(vectors.shape[1:], "random vector"), *layers.trace(generator, vectors)],
        [
            layers.image(images.shape[1:], "image, or image\n+ perturbation"),
            *layers.trace(discriminator, images),
        ],
    )
    drawing = diagrams.Drawing(0.3 + 0.92 * max(map(len, rows)), 5.0)
    for row, middle, name in zip(rows, (3.7, 1.2), ("Generator", "Discriminator"), strict=True):
        drawing.heading(middle + 1.05, name)
        drawing.chain(row, 0.1, middle)
    plotting.save(drawing.figure, pdf=pdf, png=png)
    total = sum(layer.parameters for row in rows for layer in row)
    return f"Figure 2: {layers.count(total)}"


if __name__ == "__main__":
    run(main)
