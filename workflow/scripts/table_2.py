"""Cross-testing of pairs of networks under gradient attacks."""

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
    """Join score files to Table 2."""
    cells = tables.read_cells(scores, pattern)
    return tables.write(
        tables.table_2(cells, pairs),
        cells,
        csv_path=csv,
        markdown_path=markdown,
        pattern=pattern,
        note=note,
    )


if __name__ == "__main__":
    run(main)
