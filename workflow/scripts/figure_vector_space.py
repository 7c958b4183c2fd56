"""How attacked images lie in image space, in four charts."""

from advrob.figures import plotting
from advrob.files import store
from advrob.findings import tables, vector_space_report
from advrob.job.script import run


def main(*, space: str, csv: str, pdf: str, png: str) -> str:
    """Draw the analysis of one model."""
    found = vector_space_report.read(space)
    drawn = vector_space_report.points(found)
    with store.replacing(csv) as temporary:
        tables.write_csv(temporary, vector_space_report.POINT_COLUMNS, drawn)
    plotting.save(vector_space_report.chart(found, drawn), pdf=pdf, png=png)
    return f"{found.model}: {found.photographs} photographs in image space"


if __name__ == "__main__":
    run(main)
