"""Accuracy behind downsampling by several ratios."""

from advrob.findings import tables
from advrob.job.script import run


def main(
    *,
    scores: list[str],
    ratios: dict[str, float],
    csv: str,
    markdown: str,
    pattern: str | None,
    note: str | None,
) -> str:
    """Join score files to Table 3."""
    cells = tables.read_cells(scores, pattern)
    return tables.write(
        tables.table_3(cells, ratios),
        cells,
        csv_path=csv,
        markdown_path=markdown,
        pattern=pattern,
        note=note,
    )


if __name__ == "__main__":
    run(main)
