"""The conda environments repeat the project's pins, and hold what their scripts import."""

import ast
import re
import sys
import tomllib
from importlib import metadata

import pytest
import yaml

from advrob.configuration import DEFENCES, imported_modules
from conftest import ROOT

PINS = dict(
    pin.split("==")
    for pin in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
)
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))


def pip_pins(environment):
    (pip,) = [
        entry["pip"]
        for entry in yaml.safe_load(environment.read_text())["dependencies"]
        if isinstance(entry, dict)
    ]
    return dict(pin.split("==") for pin in pip)


def scripts(environment):
    """The scripts of all rules that use an environment."""
    found = set()
    for rules in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"\n *rule ", rules.read_text())[1:]:
            if f"envs/{environment.name}" in rule and (
                script := re.search(r'scripts/(\w+)\.py"', rule)
            ):
                found.add(script.group(1))
    return sorted(found)


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.stem)
def test_an_environment_repeats_the_pins(environment):
    pins = pip_pins(environment)
    assert pins == {name: PINS[name] for name in pins}
    assert list(pins) == sorted(pins)


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.stem)
def test_an_environment_has_all_that_its_scripts_import(environment):
    packages = metadata.packages_distributions()
    available = {name.lower().replace("_", "-") for name in pip_pins(environment)}
    assert scripts(environment)
    modules = [f"defences.{path.stem}" for path in DEFENCES.glob("*.py") if path.stem != "__init__"]
    for script in scripts(environment):
        extra = modules if environment.stem == "networks" else []
        for file in imported_modules(script, *extra):
            for node in ast.walk(ast.parse(file.read_text())):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names = [node.module]
                for top in {name.split(".")[0] for name in names} - {"advrob"}:
                    if top in sys.stdlib_module_names:
                        continue
                    owners = {owner.lower().replace("_", "-") for owner in packages[top]}
                    assert owners & available, f"{script} imports {top} ({file.name})"


def test_the_installed_versions_are_the_pinned_ones():
    for name, version in PINS.items():
        assert metadata.version(name).split("+")[0] == version
