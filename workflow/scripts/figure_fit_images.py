"""Accuracy behind principal components against the number of images that they were fitted to."""

from advrob.figures import plotting
from advrob.files import store
from advrob.findings import tables
from advrob.job.script import run


def main(
    *,
    states: list[str],
    scores: list[str],
    pattern: str | None,
    csv: str,
    pdf: str,
    png: str,
) -> str:
    """Draw the accuracy behind each fitted defence, one curve a model and data set."""
    growths = plotting.growths(
        tables.read_results(scores, None, pattern), dict(map(plotting.read_fit_images, states))
    )
    with store.replacing(csv) as temporary:
        rows = [row for growth in growths for row in growth.rows()]
        tables.write_csv(temporary, plotting.GROWTH_COLUMNS, rows)
    plotting.save(plotting.growth_chart(growths), pdf=pdf, png=png)
    best = max(rows, key=lambda row: row[5])
    return f"at best {best[5]:.2%} of {best[1]}, fitted to {best[3]:,} images"


if __name__ == "__main__":
    run(main)
