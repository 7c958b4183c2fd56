"""Several runs on one page, and its tables as files."""

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from advrob.files.atomic import replacing
from advrob.findings import tables
from advrob.findings.side_by_side import (
    SideBySide,
    table_parameters,
    table_scores,
    table_worst_cases,
)
from advrob.report import entries
from advrob.report.page import fill

TEMPLATE = Path(__file__).with_name("comparison.html")
PAGE = "comparison.html"


@dataclass(frozen=True)
class Section:
    """A table of the page.

    Attributes:
        anchor: its name in links, and that of its files.
        title: the heading.
        answer: what it shows, in a sentence.
        content: the table.
    """

    anchor: str
    title: str
    answer: str
    content: Markup


def write(folder: Path, compared: SideBySide) -> Path:
    """Write the page, and each of its tables as CSV, Markdown and JSON.

    Args:
        folder: where they go.
        compared: what they show.

    Returns:
        The page.
    """
    made = {"worst_cases": table_worst_cases(compared)} if compared.worst_cases else {}
    made |= {"scores": table_scores(compared), "parameters": table_parameters(compared.runs)}
    sections = []
    for name, table in made.items():
        stem = str(folder / name)
        paths = {"markdown_path": f"{stem}.md", "json_path": f"{stem}.json"}
        tables.write(table, csv_path=f"{stem}.csv", **paths)
        content = entries.table(tables.content(table))
        sections.append(Section(name, table.title, table.answer, content))
    text = fill(TEMPLATE.read_text(encoding="utf-8"), runs=compared.runs, sections=sections)
    page = folder / PAGE
    with replacing(page) as temporary:
        # Names of folders may be no text.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return page
