"""Plug-ins, read from their source without running it.

A plug-in is one file with one class, whatever its sort: a defence, an attack, a universal method, a
lesson or a kind of model. The file says everything about it, once:

- the name of the file is the name of the kind;
- the first line of the class's docstring says what it is, and the section ``Args:`` what its keys
  are;
- the keyword-only parameters of ``__init__`` are its keys in the configuration: their annotations
  are types, ``Annotated[float, {"minimum": 0}]`` adds words of JSON Schema, defaults are defaults;
- class attributes with literal values are its traits (``stochastic = True``).

Validation, documentation, code versions and contract tests all read it from here.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from .errors import ConfigurationError, require_known

LIBRARY = Path(__file__).parent.parent


@dataclass(frozen=True)
class Sort:
    """A sort of plug-in.

    Attributes:
        title: what one is called in sentences, with an article.
        folder: of the library, where its files are.
        base: the class that its plug-ins derive from.
        section: of the configuration, where entries name it.
        key: of an entry, which names the kind.
    """

    title: str
    folder: str
    base: str
    section: str
    key: str = "kind"


SORTS = {
    "defence": Sort("a kind of defence", "defences", "Defence", "defences.<name>"),
    "attack": Sort("a kind of attack", "attacks", "Attack", "perturbations.untargeted.<name>"),
    "universal": Sort(
        "a universal method",
        "attacks/universal",
        "UniversalMethod",
        "perturbations.universal",
        "method",
    ),
    "lesson": Sort("a lesson", "training", "Lesson", "models.<name>.train", "method"),
    "model": Sort("a kind of model", "models", "ModelKind", "models.<name>"),
}
# Python's types, as JSON Schema calls them.
TYPES = {
    "float": "number",
    "int": "integer",
    "bool": "boolean",
    "str": "string",
    "Sequence": "array",
    "list": "array",
    "Mapping": "object",
    "dict": "object",
}


@dataclass(frozen=True)
class Kind:
    """What a plug-in's file declares.

    Attributes:
        sort: a key of `SORTS`.
        name: of the kind.
        module: its module, dotted, without ``advrob.``.
        class_name: its class.
        summary: what it is, one line.
        keys: name -> JSON Schema of the value, with ``description`` and ``default``.
        required: those without a default.
        traits: literal class attributes, those of bases that are plug-ins, too.
        methods: names of the methods that it defines.
    """

    sort: str
    name: str
    module: str
    class_name: str
    summary: str
    keys: Mapping[str, Mapping[str, Any]]
    required: tuple[str, ...]
    traits: Mapping[str, Any] = field(default_factory=dict)
    methods: frozenset[str] = frozenset()

    def values(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The values of all keys: those that an entry gives, else their defaults."""
        return {key: settings.get(key, schema.get("default")) for key, schema in self.keys.items()}

    @property
    def fitted(self) -> bool:
        """Whether a defence learns from images."""
        return "fit" in self.methods


def kinds(sort: str) -> dict[str, Kind]:
    """All plug-ins of a sort, by name.

    Raises:
        ConfigurationError: a file cannot be read as a plug-in.
    """
    return dict(_kinds(LIBRARY, sort))


@cache
def _kinds(library: Path, sort: str) -> Mapping[str, Kind]:
    found = {}
    for path in sorted((library / SORTS[sort].folder).glob("*.py")):
        kind = read(path, sort) if path.stem != "__init__" else None
        if kind is not None and not kind.traits.get("abstract"):
            found.update(dict.fromkeys(kind.traits.get("names", [kind.name]), kind))
    return found


def kind(sort: str, name: str, key: str) -> Kind:
    """A plug-in by its name.

    Args:
        sort: a key of `SORTS`.
        name: of the kind.
        key: of the configuration, for the message.

    Raises:
        ConfigurationError: there is none of that name, or its file is not a plug-in.
    """
    known = kinds(sort)
    file = f"advrob/{SORTS[sort].folder}/{name}.py"
    if name not in known and (LIBRARY / SORTS[sort].folder / f"{name}.py").is_file():
        raise ConfigurationError(
            f"{key}: {file} has no class that derives from {SORTS[sort].base}. Expected one such "
            "class, which is the plug-in."
        )
    require_known(key, name, known, f"{SORTS[sort].title} (there is no file {file})")
    return known[name]


def read(path: Path, sort: str) -> Kind | None:
    """What a file declares; None if it holds no plug-in of this sort.

    Raises:
        ConfigurationError: it is no Python, holds several plug-ins, or an annotation says nothing
            that a configuration could be checked against.
    """
    tree = parsed(path)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    lineages = {node.name: _lineage(node, tree, path, sort) for node in classes}
    # A class from which another in the same file derives is a part of that one.
    inner = {name for lineage in lineages.values() for name in lineage[1:]}
    found = [node for node in classes if lineages[node.name] and node.name not in inner]
    if not found:
        return None
    where = f"{path.parent.name}/{path.name}"
    if len(found) > 1:
        raise ConfigurationError(
            f"{where}: holds {len(found)} classes that derive from {SORTS[sort].base} "
            f"({', '.join(node.name for node in found)}). Expected one: one file for each plug-in."
        )
    lineage = [_class(parsed(file), name) for name, file in _bases(found[0], tree, path, sort)]
    traits: dict[str, Any] = {}
    methods: set[str] = set()
    for node in reversed(lineage):
        # Being abstract is not inherited.
        traits = {name: value for name, value in traits.items() if name != "abstract"}
        traits |= _traits(node)
        methods |= {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
    keys, required = _keys(lineage, where)
    return Kind(
        sort=sort,
        name=path.stem,
        module=f"{SORTS[sort].folder.replace('/', '.')}.{path.stem}",
        class_name=found[0].name,
        summary=(ast.get_docstring(found[0]) or "").partition("\n")[0],
        keys=keys,
        required=required,
        traits=traits,
        methods=frozenset(methods),
    )


def parsed(path: Path) -> ast.Module:
    """A file's syntax tree.

    Raises:
        ConfigurationError: it is no Python.
    """
    return _parsed(path, path.stat().st_mtime_ns)


@cache
def _parsed(path: Path, changed: int) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise ConfigurationError(
            f"{path}{f', line {line}' if line else ''}: is not valid Python ({error}). Correct it."
        ) from error


def _class(tree: ast.Module, name: str) -> ast.ClassDef:
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


def _lineage(node: ast.ClassDef, tree: ast.Module, path: Path, sort: str) -> list[str]:
    """The names of a plug-in's class and of its bases in the same file; empty for other classes."""
    return [name for name, file in _bases(node, tree, path, sort) if file == path]


def _bases(node: ast.ClassDef, tree: ast.Module, path: Path, sort: str) -> list[tuple[str, Path]]:
    """A class and the plug-ins that it derives from, nearest first, up to the sort's base class.

    Empty if it does not derive from that.
    """
    for base in node.bases:
        name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
        if name == SORTS[sort].base:
            return [(node.name, path)]
        for file, other in _defined(name, tree, path):
            above = _bases(_class(other, name), other, file, sort)
            if above:
                return [(node.name, path), *above]
    return []


def _defined(name: str, tree: ast.Module, path: Path) -> list[tuple[Path, ast.Module]]:
    """Where a class that a file names is defined: in itself, or in another file of the library."""
    if any(isinstance(node, ast.ClassDef) and node.name == name for node in tree.body):
        return [(path, tree)]
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom) or not any(
            (alias.asname or alias.name) == name for alias in node.names
        ):
            continue
        package, *parts = (node.module or "").split(".")
        file = LIBRARY.joinpath(*parts).with_suffix(".py")
        if package == "advrob" and file.is_file():
            return _defined(name, parsed(file), file)
    return []


def _traits(node: ast.ClassDef) -> dict[str, Any]:
    found = {}
    for item in node.body:
        if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            name, value = item.targets[0].id, item.value
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value:
            name, value = item.target.id, item.value
        else:
            continue
        try:
            found[name] = ast.literal_eval(value)
        except ValueError:
            continue
    return found


def _keys(
    lineage: list[ast.ClassDef], where: str
) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """Keys and which are required, of the nearest class with an ``__init__``."""
    for node in lineage:
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                sentences = _arguments(ast.get_docstring(node) or "")
                keys, required = {}, []
                pairs = zip(item.args.kwonlyargs, item.args.kw_defaults, strict=True)
                for argument, default in pairs:
                    place = f"{where}: {argument.arg}"
                    schema = _schema(argument.annotation, place)
                    if argument.arg in sentences:
                        schema["description"] = sentences[argument.arg]
                    if default is None:
                        required.append(argument.arg)
                    else:
                        schema["default"] = _literal(default, place)
                    keys[argument.arg] = schema
                return keys, tuple(required)
    return {}, ()


def _literal(node: ast.expr, place: str) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ConfigurationError(
            f"{place}: has the default {ast.unparse(node)}. Expected a literal value, such as 0.5, "
            "since files of plug-ins are read without running them."
        ) from None


def _schema(annotation: ast.expr | None, place: str) -> dict[str, Any]:
    """JSON Schema of a type."""
    match annotation:
        case None:
            return {}
        case ast.Constant(value=None):
            return {"type": "null"}
        case ast.Name(id=name) if name in TYPES:
            return {"type": TYPES[name]}
        case ast.BinOp(op=ast.BitOr(), left=left, right=ast.Constant(value=None)):
            inner = _schema(left, place)
            # The form that keywords such as "enum" need: they do not let null pass.
            if "enum" in inner:
                return inner | {"enum": [*inner["enum"], None], "type": [inner["type"], "null"]}
            return inner | {"type": [inner["type"], "null"]}
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[kind, *words])):
            inner = _schema(kind, place)
            for word in words:
                inner |= _literal(word, place)
            return inner
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            found = ast.literal_eval(values)
            return {"type": "string", "enum": list(found) if isinstance(found, tuple) else [found]}
        case ast.Subscript(value=ast.Name(id="Sequence" | "list"), slice=item):
            inner = _schema(item, place)
            return {"type": "array", "items": inner or {"type": "string"}}
        case ast.Subscript(value=ast.Name(id="Mapping" | "dict"), slice=ast.Tuple(elts=[_, value])):
            return {"type": "object", "additionalProperties": _schema(value, place) or True}
        case ast.Name(id="Any" | "Defence"):
            return {}
    raise ConfigurationError(
        f"{place}: is annotated as {ast.unparse(annotation)}. Expected one of float, int, bool, "
        "str, Literal, Sequence, Mapping, a union of one of them with None, or Annotated."
    )


# A line of a docstring's arguments that begins one: its name, a colon, a sentence.
ARGUMENT = re.compile(r"^    (\w+): (.*)$")


def _arguments(docstring: str) -> dict[str, str]:
    """The sentences of a docstring's section ``Args:``."""
    found: dict[str, str] = {}
    name = ""
    for line in docstring.partition("\nArgs:\n")[2].split("\n"):
        if line and not line.startswith(" "):
            break
        if begun := ARGUMENT.match(line):
            name = begun[1]
            found[name] = begun[2]
        elif name:
            found[name] = f"{found[name]} {line.strip()}".strip()
    return {name: text[:1].upper() + text[1:].replace("``", "`") for name, text in found.items()}
