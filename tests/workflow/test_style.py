"""The code is formatted, linted and typed, and so are the rules."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

BIN = Path(sys.executable).parent
PYTHON = ["workflow/scripts", "tests", "benchmarks"]


def check(*command):
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_python_is_linted():
    check("ruff", "check", *PYTHON)


def test_python_is_formatted():
    check("ruff", "format", "--check", *PYTHON)


def test_rules_are_formatted():
    check("snakefmt", "--check", "Snakefile", "workflow/Snakefile", "workflow/rules")


def test_rules_are_linted():
    check("snakemake", "--lint")


def test_the_library_and_the_scripts_are_typed():
    check("mypy", "workflow/scripts")


@pytest.mark.parametrize(
    "script", sorted((ROOT / "workflow/scripts").glob("*.py")), ids=lambda path: path.stem
)
def test_scripts_stay_short(script):
    """Load, call, save: what is worth more belongs to the library."""
    assert len(script.read_text().splitlines()) <= 40


def test_what_rules_share_is_a_page():
    """What is worth more belongs to the library's plan."""
    assert len((ROOT / "workflow/rules/common.smk").read_text().splitlines()) <= 110


def lines(function):
    """The number of a function's lines from its name to its end, without its docstring."""
    first, *_ = function.body
    documented = ast.get_docstring(function) is not None
    docstring = first.end_lineno - first.lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - docstring


def test_functions_fit_on_a_screen():
    files = [path for folder in PYTHON for path in sorted((ROOT / folder).rglob("*.py"))]
    long = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": lines(node)
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines(node) >= 60
    }
    assert len(files) > 100
    assert long == {}
