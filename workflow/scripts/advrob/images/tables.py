"""Tables: a CSV file that gives each file of a folder its class."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from advrob.errors import UserError
from advrob.images import labels
from advrob.images.photographs import (
    Classes,
    Draw,
    Photograph,
    by_label,
    enter,
    error_context,
    existing,
    listing,
    open_regular,
    required,
)

_COLUMNS = ("file", "label")

# The comma, and what spreadsheets and other programs write instead.
_SEPARATORS = ",;\t|"

# The most bytes of a table: some five times what a line for each image of ImageNet takes.
_LARGEST = 400 * 10**6


def table(root: str | None, draw: Draw) -> Classes:
    """The photographs of a table, which names them relative to ``images_root``.

    Raises:
        UserError: the table is not there, or a line of it names no class.
    """
    folder, path = located(root, draw.table)
    by_id: dict[str, Photograph] = {}
    for name, text, location in rows(path):
        with error_context(location):
            label = labels.parse(text)
        file = folder / name
        if "\\" in name and not file.exists():
            name = name.replace("\\", "/")
            file = folder / name
        if (earlier := enter(by_id, name, label, file)) != label:
            raise UserError(
                f"{location}: '{name}' was listed before with another label, {earlier} "
                f"instead of {label}. Remove one of its lines."
            )
    return by_label(by_id.values())


def located(root: str | None, name: str | None) -> tuple[Path, Path]:
    """The folder of a table's files, and the table."""
    folder = existing(root, "the folder that the table's files are in")
    if name is None:
        raise UserError(
            "images: layout table needs a CSV file with the columns file and label. Name it under "
            "table in images.test."
        )
    return folder, required(
        folder / name,
        "Expected a CSV file with the columns file and label, named relative to images_root. "
        "Correct table under images.test or images.fit.",
    )


def rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """File, label and location (for messages) of each line of a table, in order.

    The columns' names may be in any case and order, separated by commas, semicolons, tabs or bars.

    Raises:
        UserError: it is not such a table.
    """
    text = _text(path)
    content = text.lstrip()
    blank_lines = text[: len(text) - len(content)].count("\n")
    header = content.partition("\n")[0]
    parsed = csv.DictReader(
        io.StringIO(content, newline=""), delimiter=_separator(header), skipinitialspace=True
    )
    try:
        parsed.fieldnames = [name.strip().casefold() for name in parsed.fieldnames or ()]
        if not set(_COLUMNS) <= set(parsed.fieldnames):
            raise UserError(
                f"{path}: has the columns {listing(parsed.fieldnames)[:200]}. Expected file and "
                "label, named in the first line and separated by commas."
            )
        for column in _COLUMNS:
            if parsed.fieldnames.count(column) > 1:
                raise UserError(
                    f"{path}: has several columns called {column} (capitals do not matter). "
                    "Expected one: rename the others."
                )
        for row in parsed:
            name, label = (row[column] or "" for column in _COLUMNS)
            location = f"{path}, line {parsed.line_num + blank_lines}"
            if row["label"] is None or row["file"] is None:
                raise UserError(
                    f"{location}: has fewer columns than the first line. Expected a file and a "
                    "label, separated as the columns' names are. Correct or remove the line."
                )
            if not name.strip() or "\0" in name:
                raise UserError(
                    f"{location}: has no name of a file but {name[:60]!r}. Expected one relative "
                    "to images_root. Correct or remove the line."
                )
            yield name, label, location
    except csv.Error as error:
        raise UserError(
            f"{path}, line {parsed.reader.line_num + blank_lines}: is not a line of a table "
            f"({error}). Expected a file and a label. Look for an unclosed quotation mark."
        ) from error


def _text(path: Path) -> str:
    with open_regular(path) as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise UserError(f"{path}: has more than {_LARGEST:,} bytes. Expected a table of labels.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: is not text in UTF-8 ({error}). Save it as CSV in UTF-8."
        ) from error


def _separator(header: str) -> str:
    """The first separator that splits a table's first line into the required columns."""
    for separator in _SEPARATORS:
        names = {name.strip(' "\r').casefold() for name in header.split(separator)}
        if set(_COLUMNS) <= names:
            return separator
    return ","
