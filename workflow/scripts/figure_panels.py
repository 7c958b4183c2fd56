"""Figures 8 to 10: photographs before and after an attack, with and without a defence."""

from advrob import networks
from advrob.figures import panels, plotting
from advrob.figures.defended import defended
from advrob.findings import tables
from advrob.job.compute import Job
from advrob.job.script import run
from advrob.plan.plan import NetworkDescription


def main(
    *,
    original: str,
    attacked: str,
    scores_original: str,
    scores_attacked: str,
    scores_defended: list[str],
    network: NetworkDescription,
    job: Job,
    photographs: int,
    pdf: str,
    png: str,
) -> str:
    """Draw so many ``photographs``, with the model's predictions on exactly these pictures."""
    pairs = panels.read_pairs(original, attacked, scores_original, scores_attacked, photographs)
    draws = job.generator("figure", network["model"], network["defence"])
    built = networks.build(network, generator=draws, device=job.device)
    columns = defended(pairs, built, job.device)
    # In the order of the columns.
    files = (scores_original, scores_defended[0], scores_attacked, scores_defended[1])
    headings = [panels.heading(result) for result in tables.read_results(files)]
    figure = panels.grid(list(zip(*columns, strict=True)), headings, pairs.names())
    plotting.save(figure, pdf=pdf, png=png, dpi=panels.DPI)
    recognised = sum(picture.correct for picture in columns[-1])
    return f"{network['defence']}: {recognised} attacked photographs recognised"


if __name__ == "__main__":
    run(main)
