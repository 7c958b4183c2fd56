"""Keep the tables of a run with what they were made with, and put them into pages of docs.

    python benchmarks/record.py NAME FOLDER --table TABLE ... --configuration FILE ...

keeps tables and the answer of the run in FOLDER as ``benchmarks/recorded/NAME.json``. Then, and
also without arguments, it writes every recorded block of docs/results.md and docs/growth.md anew,
so that no number there is typed by hand. A block is what stands between these lines:

    <!-- recorded: NAME TABLE -->
    <!-- end -->

With "of COLUMN, COLUMN" behind TABLE, only these columns are shown. TABLE may also be ``answer``:
the answer's sentences; or ``run``: machine, commit and date.
"""

import argparse
import json
import re
import subprocess
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

from advrob.findings import tables
from advrob.job import record
from advrob.report.timings import duration

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "benchmarks/recorded"
PAGES = (ROOT / "docs/results.md", ROOT / "docs/growth.md")
BLOCK = re.compile(
    r"(<!-- recorded: (\S+) (\S+)(?: of ([^>]+))? -->\n).*?(<!-- end -->)", re.DOTALL
)


def recorded(folder: Path, names: list[str], configuration: list[Path]) -> dict[str, Any]:
    """What is kept of a run.

    Args:
        folder: that Snakemake ran in.
        names: of tables in its ``results/tables``.
        configuration: the files that the run was configured with.
    """
    jobs = [job for log in (folder / "logs").rglob("*.log") if (job := record.read(log))]
    answer = folder / "results/answer.json"
    return {
        **provenance(folder),
        "machines": [name for name, _ in Counter(job.machine for job in jobs).most_common()],
        "jobs": len(jobs),
        "seconds": round(sum(job.seconds for job in jobs)),
        "configuration": [path.relative_to(ROOT).as_posix() for path in configuration],
        "sentences": json.loads(answer.read_text())["sentences"] if answer.exists() else {},
        "tables": {name: tables.read(folder / f"results/tables/{name}.json") for name in names},
    }


def provenance(checkout: Path = ROOT) -> dict[str, Any]:
    """The commit of a checkout, which its run was made with, and today's date."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(command, cwd=checkout, capture_output=True, text=True).stdout.strip()
    return {"commit": commit or "unknown", "date": date.today().isoformat()}


def keep(
    name: str, title: str, header: list[str], lines: list[list[str]], remark: str, **other: Any
) -> None:
    """Keep a benchmark's own table, of its name, as `recorded` keeps those of a run.

    Args:
        name: of the record.
        title: of the table, like the next three.
        header: its columns.
        lines: its rows.
        remark: what is said below it.
        other: what else the record has.
    """
    table = {"title": title, "header": header, "lines": lines, "remark": remark}
    kept = other | {"tables": {name: table | {"parts": [], "note": None}}}
    text = json.dumps(kept, ensure_ascii=False, indent=1)
    (RECORDED / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def block(run: dict[str, Any], what: str, columns: str | None = None) -> str:
    """A recorded block in Markdown.

    Args:
        run: a record.
        what: the name of one of its tables, ``answer`` or ``run``.
        columns: of the table, separated by commas; all by default.
    """
    if what == "run":
        files = ", ".join(f"`{path}`" for path in run["configuration"])
        return (
            f"Configuration: {files}. Commit {run['commit']}, {run['date']}, on "
            f"{', '.join(run['machines'])}: {run['jobs']} jobs, {duration(run['seconds'])} one "
            "after the other."
        )
    if what == "answer":
        return "\n\n".join(text for part in run["sentences"].values() for text in part)
    table = run["tables"][what]
    if columns:
        chosen = [table["header"].index(name) for name in columns.split(", ")]
        table = table | {
            "header": [table["header"][column] for column in chosen],
            "lines": [[line[column] for column in chosen] for line in table["lines"]],
        }
    return "\n\n".join(tables.paragraphs(table, level=3))


def page(text: str) -> str:
    """The page ``text`` with every recorded block as it is recorded."""

    def fill(match: re.Match[str]) -> str:
        begin, name, what, columns, end = match.groups()
        run = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
        return f"{begin}\n{block(run, what, columns)}\n\n{end}"

    return BLOCK.sub(fill, text)


def main() -> None:
    """Record a run if one is named, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", help="of the record")
    parser.add_argument("folder", nargs="?", type=Path, help="that Snakemake ran in")
    parser.add_argument("--table", nargs="+", default=[], help="names of tables to keep")
    parser.add_argument(
        "--configuration", nargs="+", default=[], type=Path, help="files of the run"
    )
    options = parser.parse_args()
    if options.folder:
        run = recorded(options.folder, options.table, [p.resolve() for p in options.configuration])
        text = json.dumps(run, ensure_ascii=False, indent=1)
        RECORDED.mkdir(exist_ok=True)
        (RECORDED / f"{options.name}.json").write_text(text + "\n", encoding="utf-8")
    for path in PAGES:
        path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
