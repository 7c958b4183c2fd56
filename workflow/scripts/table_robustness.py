"""The table of robustness and the checks behind it."""

from advrob.findings import robustness, tables
from advrob.job.script import run


def main(
    *,
    scores: list[str],
    cells: list[tuple[str, str, str, str]],
    budgets: list[str],
    controls: list[str],
    checkups: list[str],
    bounds: dict[str, tuple[str, float]],
    gradient_free: list[str],
    note: str | None,
    csv: str,
    markdown: str,
    checks_csv: str,
    checks_markdown: str,
) -> str:
    """Join the scores of networks under attacks; test what a sound evaluation would show."""
    threats = {family: robustness.ThreatModel(*bound) for family, bound in bounds.items()}
    evaluations = robustness.read_outcomes(scores, cells)
    robustness.add_checks(evaluations, checkups, budgets, controls, threats, gradient_free)
    table = robustness.table_robustness(evaluations, threats)
    checks = robustness.table_checks(evaluations)
    tables.write(table, csv_path=csv, markdown_path=markdown, note=note)
    tables.write(checks, csv_path=checks_csv, markdown_path=checks_markdown)
    return f"{table.answer}; {checks.answer}"


if __name__ == "__main__":
    run(main)
