"""Accuracy of every network on original and universally perturbed images."""

from advrob.findings import tables
from advrob.job.script import run


def main(
    *,
    scores: list[str],
    csv: str,
    markdown: str,
    pattern: str | None,
    note: str | None,
) -> str:
    """Join score files to Table 1."""
    cells = tables.read_cells(scores, pattern)
    return tables.write(
        tables.table_1(cells),
        cells,
        csv_path=csv,
        markdown_path=markdown,
        pattern=pattern,
        note=note,
    )


if __name__ == "__main__":
    run(main)
