"""The paper's claims and numbers, each with a verdict."""

from advrob.findings import tables
from advrob.findings.replication import replication
from advrob.job.script import run


def main(
    *,
    scores: list[str],
    universal: dict[str, str],
    parts: dict[str, str],
    csv: str,
    markdown: str,
    pattern: str | None,
    note: str | None,
) -> str:
    """Judge every claim on score files."""
    results = tables.read_results(scores, pattern)
    return tables.write(
        replication(results, universal, parts),
        tables.cells_of(results),
        csv_path=csv,
        markdown_path=markdown,
        pattern=pattern,
        note=note,
    )


if __name__ == "__main__":
    run(main)
