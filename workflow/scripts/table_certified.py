"""Certified accuracy at several radii, under noise of several strengths."""

from advrob.findings import tables
from advrob.job.script import run


def main(
    *,
    certified: list[str],
    radii: list[float],
    csv: str,
    markdown: str,
    note: str | None,
) -> str:
    """Join files of certificates to the table of certified accuracy."""
    table, cells = tables.table_certified(certified, radii)
    return tables.write(table, cells, csv_path=csv, markdown_path=markdown, pattern=None, note=note)


if __name__ == "__main__":
    run(main)
