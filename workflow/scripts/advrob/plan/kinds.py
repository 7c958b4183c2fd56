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
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
        workflow_arguments: parameters of ``__init__`` that the workflow passes: no keys.
    """

    title: str
    folder: str
    base: str
    section: str
    key: str = "kind"
    workflow_arguments: tuple[str, ...] = ()


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
    "lesson": Sort(
        "a lesson",
        "training",
        "Lesson",
        "models.<name>.train",
        "method",
        workflow_arguments=("pupil",),
    ),
    "model": Sort("a kind of model", "models", "ModelKind", "models.<name>"),
}
# The norms that attacks bound.
NORMS = ("linf", "l2")
# The types that the values of a Literal may have, which all have the same.
LITERALS = {str: "string", int: "integer"}
# What a key may be annotated as.
EXPECTED = (
    "Expected one of float, int, bool, str, Literal, Sequence, Mapping, a union of one of them "
    "with None, or Annotated with a dictionary of words of JSON Schema."
)
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

    def values(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """The values of all keys: those that an entry gives, else their defaults."""
        return {key: entry.get(key, schema.get("default")) for key, schema in self.keys.items()}

    def effort(self, entry: Mapping[str, Any], default: str | Sequence[str] = ()) -> int:
        """The product of the values of those keys that the trait ``effort`` names.

        Args:
            entry: in the configuration.
            default: the keys, where the kind has no such trait.
        """
        named = self.traits.get("effort", default)
        values = self.values(entry)
        return math.prod(
            values.get(key) or 1 for key in ([named] if isinstance(named, str) else named)
        )

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
    plug_ins = {}
    for path in sorted((library / SORTS[sort].folder).glob("*.py")):
        kind = read(path, sort) if path.stem != "__init__" else None
        if kind is not None and not kind.traits.get("abstract"):
            names = kind.traits.get("names", [kind.name])
            plug_ins.update({name: replace(kind, name=name) for name in names})
    return plug_ins


def kind(sort: str, name: str, key: str) -> Kind:
    """A plug-in by its name.

    Args:
        sort: a key of `SORTS`.
        name: of the kind.
        key: of the configuration, for the message.

    Raises:
        ConfigurationError: there is none of that name, or its file is not a plug-in.
    """
    plug_ins = kinds(sort)
    if name not in plug_ins:
        file = f"advrob/{SORTS[sort].folder}/{name}.py"
        files = {path.stem: path for path in (LIBRARY / SORTS[sort].folder).glob("*.py")}
        if name in files and read(files[name], sort) is None:
            raise ConfigurationError(
                f"{key}: '{name}' is not {SORTS[sort].title}: {file} has no class that derives "
                f"from {SORTS[sort].base}. Write one, or name one of: {', '.join(plug_ins)}."
            )
        missing = "" if name in files else f" (there is no file {file})"
        require_known(key, name, plug_ins, f"{SORTS[sort].title}{missing}")
    return plug_ins[name]


def read(path: Path, sort: str) -> Kind | None:
    """What a file declares; None if it holds no plug-in of this sort.

    Raises:
        ConfigurationError: it is no Python, holds several plug-ins, or an annotation says nothing
            that a configuration could be checked against.
    """
    tree = parsed(path)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    lineages = {node.name: _lineage(node, path, sort) for node in classes}
    # A class from which another in the same file derives is a part of that one.
    inner = {name for lineage in lineages.values() for name in lineage[1:]}
    plug_ins = [node for node in classes if lineages[node.name] and node.name not in inner]
    if not plug_ins:
        return None
    file_name = f"{path.parent.name}/{path.name}"
    if len(plug_ins) > 1:
        raise ConfigurationError(
            f"{file_name}: holds {len(plug_ins)} classes that derive from {SORTS[sort].base} "
            f"({', '.join(node.name for node in plug_ins)}). Expected one: one file for each "
            "plug-in."
        )
    lineage = [_class(parsed(file), name) for name, file in _bases(plug_ins[0], path, sort)]
    traits: dict[str, Any] = {}
    methods: set[str] = set()
    for node in reversed(lineage):
        # Being abstract is not inherited.
        traits = {name: value for name, value in traits.items() if name != "abstract"}
        traits |= _traits(node)
        methods |= {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
    # An abstract class is configured through those that derive from it.
    keys, required = ({}, ()) if traits.get("abstract") else _keys(lineage, file_name, sort)
    if not traits.get("abstract"):
        _require_effort(keys, traits, file_name)
        if sort == "attack":
            _require_bounds(keys, traits, file_name)
    return Kind(
        sort=sort,
        name=path.stem,
        module=f"{SORTS[sort].folder.replace('/', '.')}.{path.stem}",
        class_name=plug_ins[0].name,
        summary=(ast.get_docstring(plug_ins[0]) or "").partition("\n")[0],
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
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise ConfigurationError(
            f"{path}{line}: is not valid Python ({reason}). Correct it."
        ) from error


def _class(tree: ast.Module, name: str) -> ast.ClassDef:
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


def _lineage(node: ast.ClassDef, path: Path, sort: str) -> list[str]:
    """The names of a plug-in's class and of its bases in the same file; empty for other classes."""
    return [name for name, file in _bases(node, path, sort) if file == path]


def _bases(
    node: ast.ClassDef, path: Path, sort: str, below: tuple[ast.ClassDef, ...] = ()
) -> list[tuple[str, Path]]:
    """A class and the plug-ins that it derives from, nearest first, up to the sort's base class.

    Empty if it does not derive from that.
    """
    for base in node.bases:
        name, file, base_class = _defined(ast.unparse(base), path, (*below, node))
        if name == SORTS[sort].base:
            return [(node.name, path)]
        if base_class is not None:
            above = _bases(base_class, file, sort, (*below, node))
            if above:
                return [(node.name, path), *above]
    return []


def _defined(
    name: str, path: Path, below: tuple[ast.ClassDef, ...]
) -> tuple[str, Path, ast.ClassDef | None]:
    """A class that a file names, ``Name`` or ``module.Name``: its own name, its file, and itself.

    Args:
        name: as the file has it.
        path: of the file.
        below: classes that derive from it, which it cannot be.

    Returns:
        No class where it is defined outside the library.
    """
    tree = parsed(path)
    module, _, class_name = name.rpartition(".")
    for node in tree.body if not module else ():
        if isinstance(node, ast.ClassDef) and node.name == class_name and node not in below:
            return class_name, path, node
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            parts = _parts(node, path)
            for alias in node.names:
                local_name = alias.asname or alias.name
                if local_name == class_name and not module:
                    return _imported(alias.name, parts, path, below)
                if local_name == module:
                    return _imported(class_name, [*parts, alias.name], path, below)
    return class_name, path, None


def _imported(
    name: str, parts: list[str], path: Path, below: tuple[ast.ClassDef, ...]
) -> tuple[str, Path, ast.ClassDef | None]:
    """`_defined` of a class in a module of the library."""
    file = LIBRARY.joinpath(*parts[1:]).with_suffix(".py")
    if parts[0] == LIBRARY.name and file.is_file() and file != path:
        return _defined(name, file, below)
    return name, path, None


def _parts(node: ast.ImportFrom, path: Path) -> list[str]:
    """The module that an import names, also a relative one, as parts of its dotted name."""
    parts = node.module.split(".") if node.module else []
    if not node.level:
        return parts
    # A file outside the library has no package.
    package = path.parts[len(LIBRARY.parent.parts) :] if path.is_relative_to(LIBRARY) else ()
    return [*package[: -node.level], *parts] or [""]


def _traits(node: ast.ClassDef) -> dict[str, Any]:
    traits = {}
    for item in node.body:
        if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            name, value = item.targets[0].id, item.value
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value:
            name, value = item.target.id, item.value
        else:
            continue
        try:
            traits[name] = ast.literal_eval(value)
        except (ValueError, TypeError):
            continue
    return traits


def _keys(
    lineage: list[ast.ClassDef], file_name: str, sort: str
) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """Keys and which are required, of the nearest class with an ``__init__``."""
    for node in lineage:
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                _require_keywords(item.args, file_name, SORTS[sort].workflow_arguments)
                sentences = _arguments(ast.get_docstring(node) or "")
                keys, required = {}, []
                pairs = zip(item.args.kwonlyargs, item.args.kw_defaults, strict=True)
                for argument, default in pairs:
                    location = f"{file_name}: {argument.arg}"
                    schema = _key(argument.annotation, location)
                    if argument.arg in sentences:
                        schema["description"] = sentences[argument.arg]
                    if default is None:
                        required.append(argument.arg)
                    else:
                        schema["default"] = _literal(default, location, "the default")
                    keys[argument.arg] = schema
                return keys, tuple(required)
    return {}, ()


def _require_keywords(
    arguments: ast.arguments, file_name: str, workflow_arguments: tuple[str, ...]
) -> None:
    """Refuse parameters that a configuration could not set."""
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    extra = [name for name in positional[1:] if name not in workflow_arguments]
    if extra:
        raise ConfigurationError(
            f"{file_name}: __init__ takes {', '.join(extra)} by position. Expected parameters that "
            "are keyword-only, since they are the keys of the configuration. Write "
            f"({', '.join(['self', *workflow_arguments, '*', *extra])})."
        )
    for star in filter(None, (arguments.vararg, arguments.kwarg)):
        raise ConfigurationError(
            f"{file_name}: __init__ takes any number of arguments as {star.arg}. Expected each one "
            "by name, since they are the keys of the configuration."
        )


def _require_effort(keys: Mapping[str, Any], traits: Mapping[str, Any], file_name: str) -> None:
    """Refuse a trait ``effort`` that names something other than keys which are numbers."""
    named = traits.get("effort", ())
    numbers = [key for key, schema in keys.items() if {"integer", "number"} & {*_types(schema)}]
    for key in [named] if isinstance(named, str) else named:
        require_known(f"{file_name}: effort", key, numbers, "a key that is a number")


def _require_bounds(keys: Mapping[str, Any], traits: Mapping[str, Any], file_name: str) -> None:
    """Refuse an attack that does not say what it bounds."""
    norms = traits.get("norms", NORMS)
    if not isinstance(norms, tuple | list) or not norms or {*norms} - {*NORMS}:
        raise ConfigurationError(
            f'{file_name}: norms is {norms!r}. Expected ("linf",), ("l2",) or both in one tuple.'
        )
    if "radius" not in keys:
        raise ConfigurationError(
            f"{file_name}: has no key radius. Expected one in every attack: its bound, in units of "
            "1/255. Add it to __init__."
        )
    if ("norm" in keys) != (len(norms) > 1):
        raise ConfigurationError(
            f"{file_name}: norms is {norms!r}, {'and' if 'norm' in keys else 'but'} there is "
            f"{'a' if 'norm' in keys else 'no'} key norm. Expected such a key where an attack has "
            "several norms, and only there."
        )


def _types(schema: Mapping[str, Any]) -> Sequence[str]:
    types: str | Sequence[str] = schema["type"]
    return [types] if isinstance(types, str) else types


def _literal(node: ast.expr, location: str, what: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise ConfigurationError(
            f"{location}: has {what} {ast.unparse(node)}. Expected a literal value, such as 0.5, "
            "since files of plug-ins are read without running them."
        ) from None


def _key(annotation: ast.expr | None, location: str) -> dict[str, Any]:
    """JSON Schema of a key, which has to say something."""
    schema = {} if annotation is None else _schema(annotation, location)
    if not schema:
        problem = "without an annotation" if annotation is None else "annotated as Any"
        raise ConfigurationError(
            f"{location}: is {problem}, so nothing would be checked. {EXPECTED}"
        )
    return schema


def _schema(annotation: ast.expr, location: str) -> dict[str, Any]:
    """JSON Schema of a type."""
    match annotation:
        case ast.Name(id=name) if name in TYPES:
            return {"type": TYPES[name]}
        case ast.BinOp(op=ast.BitOr(), left=left, right=ast.Constant(value=None)):
            inner = _key(left, location)
            null = {"type": [inner["type"], "null"]}
            # The word "enum" does not let null pass.
            return inner | null | ({"enum": [*inner["enum"], None]} if "enum" in inner else {})
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[kind, *words])):
            inner = _schema(kind, location)
            for word in words:
                literal = _literal(word, location, "the words")
                if not isinstance(literal, Mapping):
                    break
                inner |= literal
            else:
                return inner
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            literal = _literal(values, location, "the values")
            listed = list(literal) if isinstance(literal, tuple) else [literal]
            types = {LITERALS.get(type(value)) for value in listed}
            if len(types) == 1 and None not in types:
                return {"type": types.pop(), "enum": listed}
        case ast.Subscript(value=ast.Name(id="Sequence" | "list"), slice=item):
            inner = _schema(item, location)
            return {"type": "array", "items": inner or {"type": "string"}}
        case ast.Subscript(value=ast.Name(id="Mapping" | "dict"), slice=ast.Tuple(elts=[_, value])):
            return {"type": "object", "additionalProperties": _schema(value, location) or True}
        case ast.Name(id="Any" | "Defence"):
            return {}
    raise ConfigurationError(f"{location}: is annotated as {ast.unparse(annotation)}. {EXPECTED}")


# A line of a docstring's arguments that begins one: its name, a colon, a sentence.
ARGUMENT = re.compile(r"^    (\w+): (.*)$")


def _arguments(docstring: str) -> dict[str, str]:
    """The sentences of a docstring's section ``Args:``."""
    sentences: dict[str, str] = {}
    name = ""
    for line in docstring.partition("\nArgs:\n")[2].split("\n"):
        if line and not line.startswith(" "):
            break
        if beginning := ARGUMENT.match(line):
            name = beginning[1]
            sentences[name] = beginning[2]
        elif name:
            sentences[name] = f"{sentences[name]} {line.strip()}".strip()
    return {
        name: text[:1].upper() + text[1:].replace("``", "`") for name, text in sentences.items()
    }
