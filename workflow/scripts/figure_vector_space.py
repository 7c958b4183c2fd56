"""How attacked images lie in image space, in four charts."""

from advrob.figures import image_space, plotting
from advrob.files.atomic import replacing
from advrob.findings import tables
from advrob.findings.image_space import read
from advrob.job.script import run


def main(*, space: str, csv: str, pdf: str, png: str) -> str:
    """Draw the analysis of one model."""
    analysis = read(space)
    points = image_space.points(analysis)
    with replacing(csv) as temporary:
        tables.write_csv(temporary, image_space.COLUMNS, points)
    plotting.save(image_space.chart(analysis, points), pdf=pdf, png=png)
    return f"{analysis.model}: {analysis.photographs} photographs in image space"


if __name__ == "__main__":
    run(main)
