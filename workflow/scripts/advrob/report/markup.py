"""HTML of texts: the one place where what a run found is escaped.

Texts of tables have the mark-up of `advrob.findings.tables`; captions are reStructuredText that is
part of the workflow, filled with values that are not. Neither a text nor a value can make a link,
an element or an error of its own.
"""

import re
from collections.abc import Mapping
from typing import Any

from docutils.core import publish_parts
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

MARKS = re.compile(
    # A run of backquotes ends at the next run of the same length.
    r"(?<!`)(?P<fence>`+)(?!`)(?P<code>.+?)(?<!`)(?P=fence)(?!`)"
    # None inside another, or a text of many openings would be searched to its end for each.
    r"|\*\*(?=[^\s*])(?P<strong>(?:[^*]|\*(?!\*))+?)(?<=[^\s*])\*\*"
    r"|(?<![\w*])\*(?=[^\s*])(?P<em>[^*]+?)(?<=\S)\*(?![\w*])",
    re.DOTALL,
)
# Captions read no files and have no raw HTML; one that is not well-formed is an error.
DOCUTILS = {"raw_enabled": False, "file_insertion_enabled": False, "halt_level": 2}
# What a value is to docutils: its number between two characters that no text has.
OPEN, CLOSE = "\ue000", "\ue001"
PLACEHOLDER = re.compile(f"{OPEN}(\\d+){CLOSE}")


def inline(text: str) -> Markup:
    """The HTML of a marked-up text; whatever is no mark-up is shown as it is."""
    parts, end = [Markup("")], 0
    for mark in MARKS.finditer(text):
        kind = next(kind for kind in ("code", "strong", "em") if mark[kind])
        inner = mark[kind]
        if len(mark["fence"] or "") > 1 and inner.strip() and inner[0] == inner[-1] == " ":
            inner = inner[1:-1]
        parts += [escape(text[end : mark.start()]), Markup(f"<{kind}>{{}}</{kind}>").format(inner)]
        end = mark.end()
    return Markup("").join((*parts, escape(text[end:])))


def caption(text: str, params: Mapping[str, Any]) -> Markup:
    """The HTML of a caption.

    Values stay out of docutils' sight, so that they mean nothing there, and are put into its HTML.

    Args:
        text: reStructuredText as a Jinja template, which may ask for ``snakemake.params``.
        params: its rule's parameters.
    """
    values: list[str] = []

    def hold(value: Any) -> str:
        if value in (None, ""):
            return ""
        values.append(str(value))
        return f"{OPEN}{len(values) - 1}{CLOSE}"

    environment = Environment(undefined=StrictUndefined, finalize=hold)
    filled = environment.from_string(text).render(snakemake={"params": params})
    html = publish_parts(filled, writer="html5", settings_overrides=DOCUTILS)["body"]
    return Markup(PLACEHOLDER.sub(lambda match: str(escape(values[int(match[1])])), html))
