"""``python -m advrob.compare FOLDER FOLDER ...``: the results of several runs on one page."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from advrob.errors import UserError
from advrob.findings.runs import SAME, read_runs
from advrob.findings.side_by_side import SideBySide, side_by_side
from advrob.report import comparison


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare folders as the command line says.

    Returns:
        The exit status: 1 after a sentence on what is wrong.
    """
    parser = argparse.ArgumentParser(
        prog="python -m advrob.compare",
        description="Set the results of several runs side by side, and test differences.",
    )
    parser.add_argument(
        "folders",
        nargs="+",
        metavar="FOLDER",
        help="that Snakemake ran in; others are compared with the first",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("comparison"),
        metavar="FOLDER",
        help="for the page and its tables (default: %(default)s)",
    )
    parser.add_argument(
        "--same",
        action="append",
        default=[],
        metavar=f"NAME{SAME}NAME",
        help="models, or defences, that are to be compared although their names differ",
    )
    options = parser.parse_args(arguments)
    try:
        compared = side_by_side(read_runs(options.folders, [_names(text) for text in options.same]))
        page = _written(options.output, compared)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    count = compared.comparisons
    print(f"{count} comparison{'s' * (count != 1)}: see {page}")
    return 0


def _written(folder: Path, compared: SideBySide) -> Path:
    try:
        return comparison.write(folder, compared)
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: cannot be written ({error.strerror or error}). Name a "
            "folder that you may write to with --output."
        ) from error


def _names(text: str) -> list[str]:
    names = text.split(SAME)
    if len(names) < 2 or not all(names):
        raise UserError(
            f"--same: found '{text}', expected two names with '{SAME}' between them. Write "
            f"--same mine{SAME}theirs, for example."
        )
    return names


if __name__ == "__main__":
    sys.exit(main())
