"""The packages of the library stand in the order of the data flow, and imports only point down."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from conftest import ROOT

SCRIPTS = ROOT / "workflow/scripts"
LIBRARY = SCRIPTS / "advrob"
# From below: what stands in one line may import each other.
FLOORS = [
    {"plan"},
    {"errors", "plug_ins"},
    {"job"},
    {"files"},
    {"images"},
    {"linear"},
    {"learning"},
    {"models"},
    {"defences"},
    {"networks", "probing"},
    {"attacks"},
    {"training"},
    {"evaluation"},
    {"findings"},
    {"robustness"},
    {"figures"},
    {"report"},
    {"compare"},
]
FLOOR = {package: number for number, packages in enumerate(FLOORS) for package in packages}
MODULES = sorted(path for path in LIBRARY.rglob("*.py") if path != LIBRARY / "__init__.py")
RULES = [ROOT / "workflow/Snakefile", *sorted(ROOT.glob("workflow/rules/*.smk"))]

# What is known to point up, and why it is still there. Take an entry away when it is mended.
UPWARD: dict[str, str] = {}
# Findings that import, themselves or through others, what they should not.
HEAVY: dict[str, str] = {}


def name(path: Path) -> str:
    return path.relative_to(LIBRARY).as_posix()


def package(module: str) -> str:
    """The package of a module of the library, ``advrob.PACKAGE...``."""
    return module.split(".")[1]


@cache
def imports(path: Path) -> frozenset[str]:
    """All modules that a file imports, absolute; of ``from a import b`` both ``a`` and ``a.b``."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:
                folders = path.relative_to(SCRIPTS).parent.parts
                base = [*folders[: len(folders) - node.level + 1], *base]
            modules |= {".".join([*base, alias.name]) for alias in node.names} | {".".join(base)}
    return frozenset(modules)


def packages(path: Path) -> set[str]:
    """The packages of the library that a file imports from."""
    return {package(module) for module in imports(path) if module.startswith("advrob.")} & {*FLOOR}


def below(path: Path, seen: set[Path] | None = None) -> Iterator[str]:
    """All that is imported with a file: by itself, and by the library's files that it imports."""
    seen = set() if seen is None else seen
    seen.add(path)
    for module in imports(path):
        yield module
        parts = module.split(".")
        if parts[0] != "advrob":
            continue
        # Python runs the packages that a module is in before it.
        for end in range(1, len(parts) + 1):
            stem = SCRIPTS.joinpath(*parts[:end])
            for file in (stem.with_suffix(".py"), stem / "__init__.py"):
                if file.is_file() and file not in seen:
                    yield from below(file, seen)


def expected_failures(paths: list[Path], reasons: dict[str, str]) -> list[object]:
    """Paths as parameters, those of known violations as strict expected failures."""
    assert reasons.keys() <= {name(path) for path in paths}
    return [
        pytest.param(
            path,
            id=name(path),
            marks=pytest.mark.xfail(strict=True, reason=reasons[name(path)])
            if name(path) in reasons
            else (),
        )
        for path in paths
    ]


def of(*names: str) -> list[Path]:
    return [path for path in MODULES if name(path).split("/")[0] in names]


def test_every_package_has_its_floor():
    """And the test sees imports: the ways that a package may import are found."""
    assert {name(path).split("/")[0].removesuffix(".py") for path in MODULES} == FLOOR.keys()
    assert "advrob.plan.kinds.Kind" in imports(LIBRARY / "plan/plan.py")
    assert packages(LIBRARY / "networks.py") >= {"defences", "models"}
    assert "torch" in {*below(SCRIPTS / "score.py")}


@pytest.mark.parametrize("path", expected_failures(MODULES, UPWARD))
def test_imports_point_down(path):
    own = name(path).split("/")[0].removesuffix(".py")
    assert {other for other in packages(path) if FLOOR[other] > FLOOR[own]} == set()


@pytest.mark.parametrize("path", of("plan"), ids=name)
def test_the_plan_imports_nothing_but_itself(path):
    assert packages(path) <= {"plan"}
    other = {module.partition(".")[0] for module in imports(path)} - {"advrob"}
    assert other <= {*sys.stdlib_module_names, "yaml", "jsonschema"}


@pytest.mark.parametrize("path", of("attacks"), ids=name)
def test_attacks_import_no_defence_and_no_finding(path):
    assert packages(path) & {"defences", "findings"} == set()


@pytest.mark.parametrize("path", of("defences"), ids=name)
def test_defences_import_no_attack(path):
    assert "attacks" not in packages(path)


@pytest.mark.parametrize("path", expected_failures(of("findings"), HEAVY))
def test_findings_import_neither_torch_nor_matplotlib(path):
    assert {module.partition(".")[0] for module in below(path)} & {"torch", "matplotlib"} == set()


def from_library(path: Path) -> set[str]:
    """What rules import from the library; they are Snakemake's language, not Python."""
    modules = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] in (["from"], ["import"]) and "advrob" in words[1].split("."):
            modules.add(words[1].partition("advrob")[2].removeprefix("."))
    return modules


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_rules_import_only_the_plan(path):
    # Photographs are known by what is in them, which no plan can say.
    others = from_library(path) - {"images.contents"}
    if path.name == "Snakefile":
        # It also begins a run and looks at what an earlier one left behind.
        others -= {"errors", "files", "job"}
    assert {module.partition(".")[0] for module in others} <= {"plan"}


def test_the_snakefile_imports_the_plan():
    """So that the test above sees what there is to see."""
    assert "plan.plan" in from_library(ROOT / "workflow/Snakefile")


def test_starting_the_plan_loads_no_heavy_library():
    """As Python sees it, in a process of its own."""
    import subprocess

    code = (
        "import sys; from advrob.plan import plan, experiments, jobs; "
        "from advrob.images import contents; "
        "print(*sorted({'torch', 'numpy', 'matplotlib', 'h5py'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.strip() == ""
