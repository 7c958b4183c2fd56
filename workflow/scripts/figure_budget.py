"""Accuracy against the radius of an attack that knows the network."""

from advrob.figures import plotting
from advrob.files import store
from advrob.findings import tables
from advrob.job.script import run


def main(*, budgets: list[str], csv: str, pdf: str, png: str) -> str:
    """Draw one curve a network."""
    curves = [plotting.read_budget(path) for path in budgets]
    with store.replacing(csv) as temporary:
        rows = [row for curve in curves for row in curve.rows()]
        tables.write_csv(temporary, plotting.BUDGET_COLUMNS, rows)
    plotting.save(plotting.budget_chart(curves), pdf=pdf, png=png)
    last = max(row[4] for row in rows if row[2] == max(curves[0].radii))
    return f"{len(curves)} networks; within the largest radius at most {last:.1%} are right"


if __name__ == "__main__":
    run(main)
