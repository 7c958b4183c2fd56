"""A readable page of what the run found."""

from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from advrob.files import store
from advrob.job.script import run
from advrob.report import page as report

# What results depend on, of what is installed.
PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "h5py", "pillow", "matplotlib")


def main(
    *,
    template: str,
    robustness: str,
    replication: str,
    entries: list[dict[str, Any]],
    main_table: str,
    models: list[str],
    note: str | None,
    settings: dict[str, Any],
    versions: dict[str, str],
    jobs: dict[str, dict[str, dict[str, str]]],
    page: str,
) -> str:
    """Write the page.

    Args:
        template: the page's template.
        robustness: ``table_robustness.csv``.
        replication: ``replication.csv``.
        entries: tables and figures, each the arguments of `advrob.report.page.entry`.
        main_table: the name of the file of the table that is not folded.
        models: the models' names.
        note: what is to be known of the images.
        settings: the whole configuration.
        versions: of Python and Snakemake.
        jobs: rule -> the patterns of its ``benchmark`` and ``log`` files.
        page: where the page goes.
    """
    networks = report.holdings(report.read_csv(robustness))
    verdicts = report.verdict_counts(report.read_csv(replication))
    places, devices = report.machines(patterns["log"] for patterns in jobs.values())
    answer = report.answer(networks, verdicts)
    text = report.page(
        Path(template).read_text(encoding="utf-8"),
        models=models,
        answer=answer,
        note=note,
        networks=networks,
        verdicts=verdicts,
        entries=[report.entry(**entry, note=note) for entry in entries],
        main_table=main_table,
        settings=report.plain_yaml(settings),
        versions=versions | {name: metadata.version(name) for name in PACKAGES},
        machines=places,
        devices=devices,
        timings=report.timings({rule: of["benchmark"] for rule, of in jobs.items()}),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    with store.replacing(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return " ".join(answer)


if __name__ == "__main__":
    run(main)
