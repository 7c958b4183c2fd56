"""Preventive models against their control."""

from advrob.findings import preventive, tables
from advrob.job.script import run


def main(
    *,
    scores: list[str],
    control: str,
    base: str,
    note: str | None,
    csv: str,
    markdown: str,
) -> str:
    """Compare every trained model with ``control``; all began as ``base``."""
    results = tables.read_results(scores)
    table = preventive.table_preventive(results, control, base)
    cells = tables.cells_of(results)
    tables.write(table, cells, csv_path=csv, markdown_path=markdown, pattern=None, note=note)
    verdicts = [f"{line[0]} behind {line[1]} {line[-1]}" for line in table.lines]
    return f"both accuracies above {control}'s? {'; '.join(verdicts)}"


if __name__ == "__main__":
    run(main)
