"""The tables and figures of the page."""

import base64
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from advrob.findings import tables
from advrob.report import markup

# Pictures that are larger are stored again: at most so wide, in pixels, and in a lossy format.
LARGEST, WIDEST = 300_000, 1600
QUALITY = 85
# The headings of a table's parts begin below that of the table, which the page has.
HEADING, LAST_HEADING = 4, 6


@dataclass(frozen=True)
class Entry:
    """A table or a figure of the page.

    Attributes:
        name: its heading.
        group: the experiment that it belongs to.
        anchor: its name in links.
        content: the table, or the picture.
        caption: what is seen and what it means.
        is_table: whether it is a table.
    """

    name: str
    group: str
    anchor: str
    content: Markup
    caption: Markup
    is_table: bool


def entry(file: str, *, name: str, group: str, text: str, params: Mapping[str, Any]) -> Entry:
    """A table or a figure.

    Args:
        file: a table as JSON (see `advrob.findings.tables.write`), or a PNG.
        name: the heading.
        group: the experiment.
        text: of the caption.
        params: what that may ask for, of its rule's parameters.
    """
    is_table = file.endswith(".json")
    content = table(tables.read(file)) if is_table else picture(file, name)
    anchor = f"{Path(file).parent.name}-{Path(file).stem}"
    return Entry(name, group, anchor, content, markup.caption(text, params), is_table)


def table(content: Mapping[str, Any], heading: int = HEADING) -> Markup:
    """The HTML of a table without its title and its note on the images: the page has both.

    Args:
        content: see `advrob.findings.tables.content`.
        heading: the level of its parts' titles.
    """
    blocks = [_rows(content)] if content["header"] else []
    if content["remark"]:
        blocks.append(Markup("<p>{}</p>").format(markup.inline(content["remark"])))
    for part in content["parts"]:
        title = Markup("<h{0}>{1}</h{0}>").format(heading, markup.inline(part["title"]))
        blocks += [title, table(part, min(heading + 1, LAST_HEADING))]
    return Markup("\n").join(blocks)


def _rows(content: Mapping[str, Any]) -> Markup:
    head = Markup("").join(
        Markup('<th scope="col">{}</th>').format(markup.inline(cell)) for cell in content["header"]
    )
    body = Markup("\n").join(
        Markup("<tr>{}</tr>").format(Markup("").join(map(_cell, line))) for line in content["lines"]
    )
    return Markup(
        '<div class="wide" tabindex="0"><table><thead><tr>{}</tr></thead>\n<tbody>{}</tbody>'
        "</table></div>"
    ).format(head, body)


def _cell(text: str) -> Markup:
    # Names, numbers and intervals are not broken into lines, sentences are.
    unbroken = " " not in text or re.match(r"[+-]?[\d–]", text)
    return Markup("<td{}>{}</td>").format(
        Markup(' class="whole"') if unbroken else "", markup.inline(text)
    )


def picture(path: str | Path, description: str) -> Markup:
    """An image element that holds the picture of a PNG file; smaller, where that is a large one."""
    path = Path(path)
    data, kind = path.read_bytes(), "png"
    with Image.open(path) as stored:
        width, height = stored.size
        if len(data) > LARGEST:
            scale, buffer = min(1, WIDEST / width), io.BytesIO()
            smaller = stored.convert("RGB").resize((round(width * scale), round(height * scale)))
            smaller.save(buffer, "WEBP", quality=QUALITY)
            data, kind = buffer.getvalue(), "webp"
    text = base64.b64encode(data).decode("ascii")
    return Markup('<img src="data:image/{};base64,{}" width="{}" height="{}" alt="{}">').format(
        kind, text, width, height, description
    )
