"""The code is formatted, linted and typed, and so are the rules."""

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
    check("snakefmt", "--check", "Snakefile", "workflow/rules")


def test_rules_are_linted():
    check("snakemake", "--lint")


def test_the_library_is_typed():
    check("mypy", "workflow/scripts/advrob")


@pytest.mark.parametrize(
    "script", sorted((ROOT / "workflow/scripts").glob("*.py")), ids=lambda path: path.stem
)
def test_scripts_stay_short(script):
    """Load, call, save: what is worth more belongs to the library."""
    assert len(script.read_text().splitlines()) <= 95
