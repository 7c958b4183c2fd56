"""Figures 5 and 6: photographs before and after an attack, and the difference."""

from advrob.figures import panels, plotting
from advrob.job.script import run


def main(
    *,
    original: str,
    attacked: str,
    scores_original: str,
    scores_attacked: str,
    photographs: int,
    pdf: str,
    png: str,
) -> str:
    """Draw so many ``photographs`` with the predictions in the score files of these images."""
    pairs = panels.read_pairs(original, attacked, scores_original, scores_attacked, photographs)
    columns = (
        pairs.pictures(pairs.original, *pairs.before),
        pairs.changes(),
        pairs.pictures(pairs.attacked, *pairs.after),
    )
    figure = panels.grid(
        list(zip(*columns, strict=True)), ("original", "perturbation", "attacked"), pairs.names()
    )
    plotting.save(figure, pdf=pdf, png=png, dpi=panels.DPI)
    return f"{len(pairs.labels)} photographs of {pairs.dataset} as {pairs.model} sees them"


if __name__ == "__main__":
    run(main)
