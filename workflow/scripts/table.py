"""A table of the library's findings, as CSV, Markdown and JSON."""

from importlib import import_module

from advrob.findings import tables
from advrob.job.script import run


def main(
    *,
    function: str,
    cells: list[tuple[str, str, str, str]],
    options: dict,
    csv: str,
    markdown: str,
    json: str,
    pattern: str | None,
    note: str | None,
    scores: tuple[str, ...] = (),
    files: tuple[str, ...] = (),
) -> str:
    """Make a table by a ``function`` of the findings, from scores of ``cells`` or ``files``."""
    module, _, name = function.rpartition(".")
    make = getattr(import_module(f"advrob.findings.{module}"), name)
    table = make(tables.read_results(scores, cells, pattern) if cells else files, **options)
    paths = {"csv_path": csv, "markdown_path": markdown, "json_path": json}
    tables.write(table, **paths, pattern=pattern, note=note)
    return table.answer or f"{table.title}: {len(table.rows)} rows"


if __name__ == "__main__":
    run(main)
