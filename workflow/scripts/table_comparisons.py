"""Differences in accuracy between networks, tested on the same photographs."""

from advrob.findings import tables
from advrob.job.script import run


def main(
    *,
    scores: list[str],
    pairs: list[list[str]],
    csv: str,
    markdown: str,
    pattern: str | None,
    note: str | None,
) -> str:
    """Join score files to the table of comparisons."""
    results = tables.read_results(scores, pattern)
    return tables.write(
        tables.comparisons(results, pairs),
        tables.cells_of(results),
        csv_path=csv,
        markdown_path=markdown,
        pattern=pattern,
        note=note,
    )


if __name__ == "__main__":
    run(main)
