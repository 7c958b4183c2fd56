"""A readable page of what the run found, and its answer for programs."""

from typing import Any

from advrob.job.script import Options, run
from advrob.report import answer as answers
from advrob.report import page as pages
from advrob.report import timings
from advrob.report.entries import entry
from advrob.report.sentences import sentences


def main(
    *,
    template: str,
    robustness: str,
    checks: str,
    calibration: str,
    replication: list[str],
    certified: list[str],
    files: list[str],
    entries: list[dict[str, Any]],
    content: dict[str, Any],
    logs: dict[str, list[dict[str, str]]],
    page: str,
    answer: str,
) -> str:
    """Write a page with the tables and figures ``files``, described by ``entries``."""
    tables = {"robustness": robustness, "checks": checks, "calibration": calibration}
    computed = answers.read(**tables, replication=replication, certified=certified)
    paragraphs = sentences(computed)
    pages.write_data(answer, answers.as_data(computed, paragraphs), content["versions"])
    parts = [entry(file, **each) for file, each in zip(files, entries, strict=True)]
    answered: Options = {"answer": computed, "sentences": paragraphs}
    pages.write(page, template, entries=parts, jobs=timings.read(logs), **answered, **content)
    return " ".join(paragraphs["robust"])


if __name__ == "__main__":
    run(main)
