"""Samples of the generator of perturbations, and how its training went."""

from advrob.figures import panels, plotting, training
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
    history = training.read_history(generator)
    plotting.save(training.generator_chart(rows, history), pdf=pdf, png=png, dpi=panels.DPI)
    return f"generator against {pairs.model}, in the last epoch: {history.last()}"


if __name__ == "__main__":
    run(main)
