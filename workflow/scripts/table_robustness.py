"""The table of robustness and the checks behind it."""

from advrob.findings import robustness, tables
from advrob.job.script import run


def main(
    *,
    scores: list[str],
    budgets: list[str],
    controls: list[str],
    bounds: dict[str, float],
    black_box: list[str],
    note: str | None,
    csv: str,
    markdown: str,
    checks_csv: str,
    checks_markdown: str,
) -> str:
    """Join the scores of networks under attacks; test what a sound evaluation would show."""
    networks = robustness.read_outcomes(scores)
    robustness.add_checks(networks, budgets, controls, bounds, black_box)
    table, worst_cases = robustness.table_robustness(networks)
    tables.write(table, worst_cases, csv_path=csv, markdown_path=markdown, pattern=None, note=note)
    tables.write(
        robustness.table_checks(networks),
        worst_cases,
        csv_path=checks_csv,
        markdown_path=checks_markdown,
        pattern=None,
        note=None,
    )
    checks = [check for network in networks for check in network.checks]
    passed = sum(check.passed for check in checks)
    best = max(worst_cases, key=lambda cell: cell.result.accuracy)
    return (
        f"worst case: at best {best.result.accuracy:.1%} ({best.model}/{best.defence}); "
        f"{passed} of {len(checks)} checks passed"
    )


if __name__ == "__main__":
    run(main)
