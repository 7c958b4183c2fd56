"""How the preventive models' training went."""

from advrob.figures import plotting
from advrob.files import store
from advrob.findings import preventive, tables
from advrob.job.script import run


def main(*, states: list[str], csv: str, pdf: str, png: str) -> str:
    """Draw the curves in the files of trained models."""
    curves = [preventive.read_curves(path) for path in states]
    with store.replacing(csv) as temporary:
        rows = [row for curve in curves for row in curve.rows()]
        tables.write_csv(temporary, preventive.CURVE_COLUMNS, rows)
    plotting.save(preventive.training_chart(curves), pdf=pdf, png=png)
    return f"{len(curves)} models trained: {', '.join(curve.model for curve in curves)}"


if __name__ == "__main__":
    run(main)
