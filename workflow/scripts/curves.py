"""A chart and the numbers that it draws: how something grows or falls, or a matrix."""

from advrob.figures import curves, plotting
from advrob.files.atomic import replacing
from advrob.findings import tables
from advrob.job.script import run


def main(
    *,
    function: str,
    csv: str,
    pdf: str,
    png: str,
    sweeps: list[str] | None = None,
    budgets: list[str] | None = None,
    states: list[str] | None = None,
    scores: list[str] | None = None,
    certified: list[str] | None = None,
    pattern: str | None = None,
) -> str:
    """Draw the figure of one ``function`` of `advrob.figures.curves`.

    The other arguments are that function's; a rule names those that it takes.
    """
    sources = {
        **{"sweeps": sweeps, "budgets": budgets, "states": states, "scores": scores},
        **{"certified": certified, "pattern": pattern},
    }
    arguments = {name: value for name, value in sources.items() if value is not None}
    chart = getattr(curves, function)(**arguments)
    with replacing(csv) as temporary:
        tables.write_csv(temporary, chart.columns, chart.rows)
    plotting.save(chart.figure, pdf=pdf, png=png)
    return chart.summary


if __name__ == "__main__":
    run(main)
