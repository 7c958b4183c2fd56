"""The table of the workflow's own messages, `docs/messages.md`, and whether it is current.

python tests/workflow/test_messages.py    # writes it anew
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "workflow/scripts/advrob"
PAGE = ROOT / "docs/messages.md"
HEAD = """# Messages

The error messages of the workflow, by the file of the library that raises them. Names in braces
stand for values. Each message names the file or key, what was found, what was expected and what to
do. `python tests/workflow/test_messages.py` writes this page.
"""
# Whose message a user reads without a stack trace.
ERRORS = {"UserError", "ConfigurationError", "NotFiniteError"}


def text_of(node: ast.expr) -> str:
    """A string's template: what is put in stands in braces."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(map(text_of, values))
        case ast.FormattedValue(value=value):
            inner = re.sub(r"\s+", " ", ast.unparse(value))
            return f"{{{inner if len(inner) <= 40 else '…'}}}"
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return text_of(left) + text_of(right)
        case ast.IfExp(body=body, orelse=other):
            return f"{text_of(body)} / {text_of(other)}"
        case _:
            return f"{{{ast.unparse(node)}}}"


def messages(file: Path) -> Iterator[str]:
    """The messages of a module's errors, in their order."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            if name in ERRORS:
                yield text_of(node.args[0])


def page() -> str:
    """The whole page."""
    text = HEAD
    for file in sorted(LIBRARY.rglob("*.py")):
        # One that is put together elsewhere is no template.
        sentences = [
            said for said in dict.fromkeys(messages(file)) if " " in re.sub("{.*?}", "", said)
        ]
        if sentences:
            text += f"\n## {file.relative_to(LIBRARY).as_posix()}\n\n"
            text += "".join(f"- `{said.replace('`', chr(39))}`\n" for said in sentences)
    return text


def test_the_table_of_messages_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tests/workflow/test_messages.py"


def test_a_message_is_whole_sentences_about_something() -> None:
    said = [line for line in page().splitlines() if line.startswith("- ")]
    assert len(said) > 100
    for line in said:
        assert ": " in line or "{" in line, line
        # A command, a path or what is put in may end it.
        assert re.search(r"[.}]`$|: (pip|snakemake|--)[^:]*`$|=\S+`$", line), line


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
