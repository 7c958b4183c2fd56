"""A table of the library's findings, or several of the same, as CSV, Markdown and JSON."""

from importlib import import_module

from advrob.findings import tables
from advrob.job.script import run

Files = str | list[str]


def main(
    *,
    function: str,
    cells: list[tuple[str, str, str, str]],
    options: dict,
    csv: Files,
    markdown: Files,
    json: Files,
    pattern: str | None,
    note: str | None,
    scores: tuple[str, ...] = (),
    files: tuple[str, ...] = (),
    files_of: dict[str, list[str]] | None = None,
) -> str:
    """Make a table by a ``function`` of the findings, from scores of ``cells`` or ``files``.

    Further files go to the function by the names of their groups.
    """
    module, _, name = function.rpartition(".")
    make = getattr(import_module(f"advrob.findings.{module}"), name)
    results = tables.read_results(scores, cells, pattern) if cells else files
    made = make(results, **options, **(files_of or {}))
    return tables.write(made, csv, markdown, json, pattern=pattern, note=note)


if __name__ == "__main__":
    run(main)
