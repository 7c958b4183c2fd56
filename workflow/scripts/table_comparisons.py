"""Every defence against none: differences in accuracy, tested on the same images."""

from advrob import tables
from advrob.job import run


def main(
    *,
    scores: list[str],
    csv: str,
    markdown: str,
    pattern: str | None,
    note: str | None,
) -> str:
    """Join score files to the table of comparisons."""
    return tables.write(
        tables.comparisons(scores, pattern),
        tables.read_cells(scores, pattern),
        csv_path=csv,
        markdown_path=markdown,
        pattern=pattern,
        note=note,
    )


if __name__ == "__main__":
    run(main)
