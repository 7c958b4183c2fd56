"""Samples of the generator of perturbations, and how its training went."""

import numpy as np

from advrob import panels, plotting, preventive
from advrob.job import run
from advrob.panels import Picture


def main(
    *,
    generator: str,
    original: str,
    attacked: str,
    scores_original: str,
    scores_attacked: str,
    photographs: int,
    pdf: str,
    png: str,
) -> str:
    """Draw so many ``photographs`` with a perturbation each, above the training curves."""
    pairs = panels.read_pairs(original, attacked, scores_original, scores_attacked, photographs)
    difference = pairs.attacked.astype(np.int16) - pairs.original
    radius = max(int(abs(difference).max()), 1)
    changes = [
        Picture(image, f"sample × {127.5 / radius:.3g}")
        for image in panels.magnify(difference, radius)
    ]
    rows = [changes, pairs.pictures(pairs.attacked, *pairs.after)]
    curves = preventive.read_curves(generator)
    figure = preventive.generator_chart(rows, curves)
    plotting.save(figure, pdf=pdf, png=png, dpi=panels.DPI)
    last = ", ".join(
        f"{name} {values[-1]:.2f}"
        for name, values in zip(curves.measures, curves.values, strict=True)
    )
    return f"generator against {pairs.model}: {last}"


if __name__ == "__main__":
    run(main)
