"""Versions of the code behind a job, so that an edit reruns exactly what it can change.

A version is a hash of a script and of all that it imports from the library, followed through
imports; plug-ins, which are imported by a configured name, are added by name. What cannot change a
result is left out: comments, docstrings, the wording of messages, and the modules that only run a
job.
"""

import ast
import atexit
import contextlib
import copy
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .kinds import LIBRARY, parsed

SCRIPTS = LIBRARY.parent
# What decides which jobs run, and how: it computes nothing that is not a parameter.
WITHOUT_EFFECT = (
    "advrob/plan/",
    *(
        f"advrob/job/{name}.py"
        for name in (
            "disk",
            "limits",
            "locks",
            "log",
            "machine",
            "progress",
            "record",
            "script",
            "signals",
        )
    ),
)
WITH_EFFECT = ("advrob/plan/certificates.py", "advrob/plan/components.py")
# Statements that only tell a reader something.
LOGGING_CALLS = {"print", "log_start"}
# Of files, enough for the library at ten times.
MOST_SUMMARIES = 3000
# What gives its first argument, and tells a reader how far it is.
PROGRESS_CALL = "progress"


# Summaries of files outlive a run, for to read the library's syntax takes longer than all other
# planning. Their names say how they were made.
SUMMARIES = Path("~/.cache/deep-adversarial-robustness/versions.json")


@dataclass(frozen=True)
class Summary:
    """What a version needs to know of a file.

    Attributes:
        essence: a hash of its code without what only a reader sees.
        modules: everything that it imports, or may: dotted names.
    """

    essence: str
    modules: tuple[str, ...]


def imported_modules(script: str, *modules: str, scripts: Path = SCRIPTS) -> list[Path]:
    """The files that a script consists of: itself and all that it imports from the library.

    Args:
        script: a script's stem.
        modules: further modules, dotted without ``advrob.``, for those imported by a configured
            name, such as ``defences.pca``.
        scripts: the folder of the scripts and the library.
    """
    if not (scripts / f"{script}.py").is_file():
        # The library is installed without its scripts: all of it stands for each of them.
        return sorted((scripts / "advrob").rglob("*.py"))
    files: set[Path] = set()
    waiting = [scripts / f"{script}.py"]
    waiting += [scripts / "advrob" / f"{module.replace('.', '/')}.py" for module in modules]
    while waiting:
        file = waiting.pop()
        if file not in files:
            files.add(file)
            waiting += _files(_summary(file, scripts, file.stat().st_mtime_ns).modules, scripts)
    return sorted(files)


def code_version(script: str, *modules: str, scripts: Path = SCRIPTS) -> str:
    """A hash of what can change a result in `imported_modules`."""
    digest = hashlib.sha256()
    for file in imported_modules(script, *modules, scripts=scripts):
        name = file.relative_to(scripts).as_posix()
        if name in WITH_EFFECT or not name.startswith(WITHOUT_EFFECT):
            summary = _summary(file, scripts, file.stat().st_mtime_ns)
            digest.update(f"{name}\0{summary.essence}\0".encode())
    return digest.hexdigest()[:16]


@cache
def _summary(file: Path, scripts: Path, changed: int) -> Summary:
    name = file.relative_to(scripts).as_posix()
    stored = _stored()
    key = hashlib.sha256(name.encode() + b"\0" + file.read_bytes()).hexdigest()
    if key not in stored:
        # A tree of its own: `parsed` keeps the whole one.
        code = ast.unparse(_Silent().visit(copy.deepcopy(parsed(file))))
        summary = Summary(hashlib.sha256(code.encode()).hexdigest(), _modules(file, scripts))
        stored[key] = summary
    return stored[key]


@cache
def _stored() -> dict[str, Summary]:
    """Summaries by a hash of the file, from the last run and for the next one."""
    # As they were made: by this module, and by this version of Python.
    maker = hashlib.sha256(Path(__file__).read_bytes() + sys.version.encode()).hexdigest()
    stored = {}
    with contextlib.suppress(OSError, RuntimeError, ValueError, TypeError, KeyError):
        saved = json.loads(SUMMARIES.expanduser().read_text(encoding="utf-8"))
        if saved["maker"] == maker:
            stored = {key: Summary(e, tuple(m)) for key, (e, m) in saved["summaries"].items()}
    count_before = len(stored)

    def save() -> None:
        if len(stored) == count_before:
            return
        # What is needed again is summarised again.
        newest = dict(list(stored.items())[-MOST_SUMMARIES:])
        content = {key: (each.essence, each.modules) for key, each in newest.items()}
        with contextlib.suppress(OSError, RuntimeError):  # there may be no home
            file = SUMMARIES.expanduser()
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.with_name(f".{file.name}.{os.getpid()}")
            temporary.write_text(json.dumps({"maker": maker, "summaries": content}))
            temporary.replace(file)

    atexit.register(save)
    return stored


def _modules(file: Path, scripts: Path) -> tuple[str, ...]:
    modules: set[str] = set()
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = file.relative_to(scripts).parent.parts
                inner = package[: len(package) - node.level + 1]
                base = ".".join([*inner, *([base] if base else [])])
            modules.add(base)
            modules.update(f"{base}.{alias.name}" for alias in node.names)
    return tuple(sorted(modules))


def _files(modules: Iterable[str], scripts: Path) -> Iterator[Path]:
    for module in modules:
        if module.partition(".")[0] == "advrob":
            path = scripts / module.replace(".", "/")
            for candidate in (path.with_suffix(".py"), path / "__init__.py"):
                if candidate.is_file():
                    yield candidate


class _Silent(ast.NodeTransformer):
    """Removes docstrings, messages and what a script's ``main`` returns, which goes to its log."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Drop docstrings and statements that print."""
        value = node.value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return ast.Pass()
        if isinstance(value, ast.Call) and _called(value) in LOGGING_CALLS:
            return ast.Pass()
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Drop what a loop is called in the log."""
        self.generic_visit(node)
        return node.args[0] if _called(node) == PROGRESS_CALL and node.args else node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Keep what is raised, not what it says."""
        if isinstance(node.exc, ast.Call):
            return ast.Raise(exc=node.exc.func, cause=None)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drop the sentence that a script's ``main`` returns."""
        self.generic_visit(node)
        if node.name == "main":
            for part in _own_parts(node.body):
                if isinstance(part, ast.Return):
                    part.value = None
        return node


def _own_parts(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """The parts of a function, those of functions in it excepted."""
    for node in nodes:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            yield from _own_parts(ast.iter_child_nodes(node))


def _called(node: ast.Call) -> str:
    """The name of what is called, without what it belongs to."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""
