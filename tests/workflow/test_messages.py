"""The table of the workflow's own messages, `docs/messages.md`, and whether it is current.

python tests/workflow/test_messages.py          # writes it anew
python tests/workflow/test_messages.py --run    # and finds out what provokes each (minutes)
"""

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "workflow/scripts/advrob"
PAGE = ROOT / "docs/messages.md"
HEAD = """# Messages

The error messages of the workflow, by the file of the library that raises them. Names in braces
stand for values. Each message names the file or key, what was found, what was expected and what to
do. Beside it is a test, below `tests/`, whose input provokes it. What Snakemake reports before this
workflow starts is in [running](running.md#errors-of-snakemake-itself).

`python tests/workflow/test_messages.py` writes this page; with `--run` it also runs the tests to
see which message each provokes.
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


def messages(file: Path) -> dict[str, set[int]]:
    """The messages of a module's errors, in their order, and the lines that they are made in."""
    lines: dict[str, set[int]] = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            said = text_of(node.args[0])
            # One that is put together elsewhere is no template.
            if name in ERRORS and re.search("[a-z]{2}", re.sub("{.*?}", "", said)):
                lines.setdefault(said, set()).update(range(node.lineno, node.end_lineno + 1))
    return lines


def cell(text: str) -> str:
    """Text as code in a table of Markdown."""
    return f"`{text.replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def page(provoked: Mapping[tuple[str, str], str]) -> str:
    """The whole page.

    Args:
        provoked: for the file of a message and the message, as they are on the page, a test.
    """
    text = HEAD
    for file in sorted(LIBRARY.rglob("*.py")):
        name = file.relative_to(LIBRARY).as_posix()
        sentences = [cell(said) for said in messages(file)]
        if sentences:
            text += f"\n## {name}\n\n| message | provoked by |\n|---|---|\n"
            text += "".join(
                f"| {said} | {provoked.get((name, said), '')} |\n" for said in sentences
            )
    return text


def provoked_before() -> dict[tuple[str, str], str]:
    """What the page says now."""
    found, name = {}, ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            name = line.removeprefix("## ")
        elif row := re.fullmatch(r"\| (`.*`) \| (.*) \|", line):
            found[name, row[1]] = row[2]
    return found


def provoked_now() -> dict[tuple[str, str], str]:
    """What running the tests shows. Of several, a test of few messages says most about each."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PROVOKED": f"{folder}/lines"}
        tests = [f"{each.relative_to(ROOT)}::{name}" for each, name in error_tests()]
        command = [sys.executable, "-m", "pytest", "-p", "provoking", "-q", *tests]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
        lines = [json.loads(line) for line in Path(f"{folder}/lines").read_text().splitlines()]
    at: dict[tuple[str, int], set[str]] = defaultdict(set)
    for file, line, test in lines:
        at[file, line].add(test)
    by_message = {
        (file.relative_to(LIBRARY).as_posix(), cell(said)): set().union(
            *(at[str(file), line] for line in lines_of)
        )
        for file in sorted(LIBRARY.rglob("*.py"))
        for said, lines_of in messages(file).items()
    }
    count = Counter(test for tests in by_message.values() for test in tests)
    return {
        key: cell(min(tests, key=lambda test: (count[test], test)))
        for key, tests in by_message.items()
        if tests
    }


def error_tests() -> Iterator[tuple[Path, str]]:
    """File and name of each test, but those of whole workflows, that may be about an error."""
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        text = file.read_text(encoding="utf-8")
        for node in ast.parse(text).body if file.parent.name != "workflow" else ():
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                first = min(each.lineno for each in (node, *node.decorator_list))
                lines = text.splitlines()[first - 1 : node.end_lineno]
                if re.search("raises|refus|match|message|error|UserError", "\n".join(lines)):
                    yield file, node.name


def test_the_table_of_messages_is_current() -> None:
    text = page(provoked_before())
    assert PAGE.read_text(encoding="utf-8") == text, "run: python tests/workflow/test_messages.py"


def test_the_tests_that_provoke_messages_exist() -> None:
    existing = {
        cell(f"{file.relative_to(ROOT / 'tests').as_posix()}::{name}")
        for file, name in error_tests()
    }
    named = [test for test in provoked_before().values() if test]
    assert set(named) <= existing, "run: python tests/workflow/test_messages.py --run"
    assert len(named) > 0.9 * len(provoked_before())


def test_a_message_is_whole_sentences_about_something() -> None:
    said = [message for _, message in provoked_before()]
    assert len(said) > 100
    for line in said:
        assert ": " in line or "{" in line, line
        # A command, a path or what is put in may end it.
        assert re.search(r"[.}]`$|: (pip|snakemake|--)[^:]*`$|=\S+`$", line), line


if __name__ == "__main__":
    PAGE.write_text(
        page(provoked_now() if "--run" in sys.argv else provoked_before()), encoding="utf-8"
    )
