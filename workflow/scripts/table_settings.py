"""The settings of defences that do best on images outside the test set."""

from advrob.findings import tables
from advrob.job.script import run


def main(
    *,
    scores: list[str],
    candidates: dict[str, list[str]],
    note: str | None,
    csv: str,
    markdown: str,
) -> str:
    """Compare the ``candidates`` of each family of settings, and choose."""
    cells = tables.read_cells(scores)
    table = tables.table_settings(cells, candidates)
    tables.write(table, cells, csv_path=csv, markdown_path=markdown, pattern=None, note=note)
    chosen = [f"{row[2]} of {row[-1]}" for row in table.rows if row[-2] == "true"]
    return f"chosen: {', '.join(chosen)}"


if __name__ == "__main__":
    run(main)
