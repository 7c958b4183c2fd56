"""Samples of the generator of perturbations, and how its training went."""

from advrob.figures import panels, plotting
from advrob.findings import preventive
from advrob.job.script import run


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
    rows = [pairs.changes(), pairs.pictures(pairs.attacked, *pairs.after)]
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
