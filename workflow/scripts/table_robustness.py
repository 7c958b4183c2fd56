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
    real: list[str],
    bounds: dict[str, tuple[str, float]],
    gradient_free: list[str],
    note: str | None,
    csv: str,
    markdown: str,
    json: str,
    checks_csv: str,
    checks_markdown: str,
    checks_json: str,
) -> str:
    """Join the scores of networks under attacks; test what a sound evaluation would show."""
    threats = {family: robustness.ThreatModel(*bound) for family, bound in bounds.items()}
    evaluations = robustness.read_outcomes(scores, cells)
    robustness.add_real_values(evaluations, real)
    robustness.add_checks(evaluations, checkups, budgets, controls, threats, gradient_free)
    table = robustness.table_robustness(evaluations, threats)
    checks = robustness.table_checks(evaluations)
    tables.write(table, csv_path=csv, markdown_path=markdown, json_path=json, note=note)
    paths = {"markdown_path": checks_markdown, "json_path": checks_json}
    tables.write(checks, csv_path=checks_csv, **paths)
    return f"{table.answer}; {checks.answer}"


if __name__ == "__main__":
    run(main)
