"""The configuration's schema: its keys, what each may be, and a mistake put in a sentence.

The schema's file has what belongs to the workflow; the keys of plug-ins come from their own files.
"""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from . import kinds
from .errors import ConfigurationError, did_you_mean, nearest, nearest_names

FILE = Path(__file__).with_name("config.schema.yaml")

# A JSON type, as a sentence calls it.
TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
# What the word ``at_most`` of a plug-in's key may name.
IMAGE_LIMITS = {"side": "the side of the images", "numbers": "the numbers in an image"}
# The longest value that a message repeats, in characters.
LONGEST = 60
# Whole numbers are stored in 64 bits, others are computed with in 32.
LARGEST, LARGEST_FLOAT = 2**63, 3.4e38


@dataclass(frozen=True)
class Key:
    """A key that a configuration may have.

    Attributes:
        path: dotted; ``<name>`` stands for a name that its user chooses, ``[]`` for a list's items.
        schema: what its value may be.
        required: whether it has to be there.
    """

    path: str
    schema: Mapping[str, Any]
    required: bool


@cache
def load() -> Mapping[str, Any]:
    """The schema, its references resolved."""
    import yaml

    schema = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    resolved = _resolved(schema, schema.pop("$defs"))
    assert isinstance(resolved, dict)
    return resolved


def _resolved(part: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(part, list):
        return [_resolved(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    own = {key: _resolved(value, definitions) for key, value in part.items() if key != "$ref"}
    if "$ref" in part:
        own = _resolved(definitions[part["$ref"].rpartition("/")[2]], definitions) | own
    return own


def keys(schema: Mapping[str, Any], path: str = "") -> Iterator[Key]:
    """All keys at and below ``path``, in the schema's order."""
    required = schema.get("required", ())
    named = dict(schema.get("properties", {}))
    if isinstance(entries := schema.get("additionalProperties"), Mapping):
        named["<name>"] = entries
    for name, part in named.items():
        key = _dotted([path, name])
        yield Key(key, part, name in required)
        yield from keys(part, key)
    if "properties" in schema.get("items", {}):
        yield from keys(schema["items"], f"{path}[]")


def expected(schema: Mapping[str, Any]) -> str:
    """What a value may be, in words that follow "Expected"."""
    types = schema.get("type", [])
    null = f"{TYPES['null']} or " if not isinstance(types, str) and "null" in types else ""
    if "enum" in schema:
        return f"{null}one of {', '.join(map(str, filter(None, schema['enum'])))}"
    if not types:
        return "a value"
    kind = types if isinstance(types, str) else next(name for name in types if name != "null")
    return f"{null}{TYPES[kind]}{_limits(schema)}"


def _limits(schema: Mapping[str, Any]) -> str:
    """What the keywords of a schema other than its type ask for."""
    unit = " in units of 1/255" if "levels" in schema else ""
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']} to {schema['maximum']}{unit}"
    words = {
        "exclusiveMinimum": "above {}",
        "minimum": "of at least {}",
        "maximum": "of at most {}",
        "exclusiveMaximum": "below {}",
        "minProperties": "of at least {} entry",
        "pattern": "that matches {}",
    }
    limits = [word.format(schema[key]) for key, word in words.items() if key in schema]
    if schema.get("at_most") in IMAGE_LIMITS:
        limits.append(f"of at most {IMAGE_LIMITS[schema['at_most']]}")
    if "enum" in schema.get("not", {}):
        limits.append(f"other than {', '.join(schema['not']['enum'])}")
    if "items" in schema:
        limits.append(f"of {_items(schema)}")
    return (" " + " and ".join(limits) if limits else "") + unit


def _items(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    different = "different " if schema.get("uniqueItems") and least != 1 else ""
    items = f"{least} {different}item{'s' if least > 1 else ''}"
    count = items if least == most else f"at least {items}" if least else f"{different}items"
    return f"{count}, each {expected(schema['items'])}"


def mistake(config: Mapping[str, Any]) -> str | None:
    """The first thing in a configuration that the schema does not allow, in a sentence.

    It names the key by its dotted path, what was found, what is expected and the nearest name. An
    entry that names a plug-in is held against what that plug-in's file declares.

    Returns:
        None where there is none.
    """
    # The schema names additionalProperties before required: what is missing is often misspelled.
    error = next(_validator_class()(load()).iter_errors(config), None)
    if error is not None:
        return _sentence(error)
    for plug_in in plug_ins(config):
        try:
            schema = plug_in.schema()
        except ConfigurationError as unknown_kind:
            return str(unknown_kind)
        error = next(_validator_class()(schema).iter_errors(plug_in.entry), None)
        if error is not None:
            return _sentence(error, plug_in)
    return None


def without_nulls(config: Any) -> Any:
    """A configuration in which a key that is null is as if it were not given.

    So a file can take away what an earlier one gives.
    """
    if isinstance(config, Mapping):
        return {
            key: without_nulls(value)
            for key, value in config.items()
            if value is not None or key in _nullable()
        }
    return config


@cache
def _nullable() -> frozenset[str]:
    """Keys of plug-ins for which null is a value, and not the default."""
    return frozenset(
        key
        for sort in kinds.SORTS
        for kind in kinds.kinds(sort).values()
        for key, schema in kind.keys.items()
        if "null" in schema.get("type", "") and schema.get("default") is not None
    )


def filled(config: Any, schema: Mapping[str, Any] | None = None) -> Any:
    """A configuration with the schema's defaults where keys are not given."""
    schema = load() if schema is None else schema
    if not isinstance(config, Mapping):
        return config
    completed = dict(config)
    properties = schema.get("properties", {})
    for key, part in properties.items():
        if key not in completed and "default" in part:
            completed[key] = copy.deepcopy(part["default"])
        if key in completed:
            completed[key] = filled(completed[key], part)
    if isinstance(entries := schema.get("additionalProperties"), Mapping):
        completed |= {
            key: filled(value, entries) for key, value in completed.items() if key not in properties
        }
    return completed


@dataclass(frozen=True)
class PlugIn:
    """An entry of a configuration that names a plug-in.

    Attributes:
        sort: a key of `kinds.SORTS`.
        path: of the entry.
        entry: its keys and values.
        common: the schema of the keys that all plug-ins of this sort take.
    """

    sort: str
    path: tuple[str, ...]
    entry: Mapping[str, Any]
    common: Mapping[str, Any]

    @property
    def kind_name(self) -> str:
        """The kind that it names."""
        return str(self.entry.get(kinds.SORTS[self.sort].key, self.path[-1]))

    def kind(self) -> kinds.Kind:
        """What the plug-in declares.

        Raises:
            ConfigurationError: there is none of that name.
        """
        names_kind = kinds.SORTS[self.sort].key in self.entry
        key = [*self.path, kinds.SORTS[self.sort].key] if names_kind else self.path
        return kinds.kind(self.sort, self.kind_name, _dotted(key))

    def schema(self) -> dict[str, Any]:
        """The schema of the entry: the common keys, and those of the plug-in.

        Raises:
            ConfigurationError: there is none of that name.
        """
        kind = self.kind()
        schema = combined(self.common, kind)
        if kind.values(self.entry).get("levels", 256) is None:
            # Of real-valued images a fraction of a level is a distance like any other.
            for key, part in schema["properties"].items():
                schema["properties"][key] = {k: v for k, v in part.items() if k != "levels"}
        return schema


def combined(common: Mapping[str, Any], kind: kinds.Kind) -> dict[str, Any]:
    """The schema of an entry with the keys that all plug-ins of its sort take, and one's own.

    Raises:
        ConfigurationError: one of its own has the name of another.
    """
    common_keys = common.get("properties", {})
    if twice := [key for key in kind.keys if key in common_keys]:
        raise ConfigurationError(
            f"advrob/{kind.module.replace('.', '/')}.py: __init__ takes {', '.join(twice)}, which "
            f"{kinds.SORTS[kind.sort].section} already has. Expected keys of its own. Rename it."
        )
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {**common_keys, **kind.keys},
        "required": [*common.get("required", ()), *kind.required],
        "exclusive": [*common.get("exclusive", ()), *kind.traits.get("exclusive", ())],
        "ordered": [*kind.traits.get("ordered", ())],
    }


def plug_ins(config: Mapping[str, Any]) -> Iterator[PlugIn]:
    """Every entry of a valid configuration that names a plug-in."""
    schema = load()["properties"]
    perturbations = schema["perturbations"]["properties"]
    models = schema["models"]["additionalProperties"]
    for name, entry in config["defences"].items():
        common = schema["defences"]["additionalProperties"]
        yield PlugIn("defence", ("defences", name), entry, common)
    for name, entry in config["perturbations"]["untargeted"].items():
        common = perturbations["untargeted"]["additionalProperties"]
        yield PlugIn("attack", ("perturbations", "untargeted", name), entry, common)
    universal = config["perturbations"]["universal"]
    path = ("perturbations", "universal")
    yield PlugIn("universal", path, universal, perturbations["universal"])
    for name, entry in config["models"].items():
        if "train" in entry:
            common = models["properties"]["train"]
            yield PlugIn("lesson", ("models", name, "train"), entry["train"], common)
        elif "base" not in entry:
            yield PlugIn("model", ("models", name), entry, _without_training(models))


def _without_training(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a model that is not trained."""
    own = {key: part for key, part in schema["properties"].items() if key not in ("base", "train")}
    return {**schema, "properties": own}


@cache
def _validator_class() -> Any:
    """The class of validators of JSON Schema and of what ours adds to it.

    Stricter in three things: 2.0 is not a whole number, NaN and infinity are no numbers, and
    neither are whole numbers of more than 64 bits and others of more than 32. Our own words are:
    ``levels`` marks numbers in units of 1/255, of which a fraction of one is refused, since most
    papers give them in units of 1; ``exclusive`` lists keys that exclude each other, ``ordered``
    keys whose values must not fall; ``reason`` says why there is a limit; ``at_most`` names one
    that depends on the size of the images, which `advrob.plan.ranges` checks.
    """
    # Later than at the top: the documentation of the schema needs no validator.
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def levels(validator: Any, enabled: bool, value: Any, schema: Any) -> Iterator[ValidationError]:
        if enabled and _is_number(value) and 0 < abs(value) < 1:
            yield ValidationError("less than one level")

    def exclusive(
        validator: Any, groups: Any, value: Any, schema: Any
    ) -> Iterator[ValidationError]:
        for group in groups:
            if len(present := [key for key in group if key in value]) > 1:
                yield ValidationError(" and ".join(present))

    def ordered(validator: Any, groups: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        for group in groups:
            values = [value[key] for key in group if key in value]
            if all(map(_is_number, values)) and values != sorted(values):
                pairs = (f"{key} is {value[key]}" for key in group if key in value)
                yield ValidationError(f"{' and '.join(pairs)}; expected {' <= '.join(group)}")

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda checker, value: isinstance(value, int) and _is_number(value),
            "number": lambda checker, value: _is_number(value),
            "array": lambda checker, value: isinstance(value, list | tuple),
        }
    )
    words = {"levels": levels, "exclusive": exclusive, "ordered": ordered}
    return extend(Draft202012Validator, words, type_checker=types)


def _is_number(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < LARGEST
    return isinstance(value, float) and abs(value) < LARGEST_FLOAT


def _sentence(error: Any, plug_in: PlugIn | None = None) -> str:
    """An error of jsonschema, for a user."""
    path, value, schema = list(error.absolute_path), error.instance, error.schema
    path = [*(plug_in.path if plug_in else ()), *path]
    if error.validator == "additionalProperties":
        (name, *_) = [key for key in value if key not in schema["properties"]]
        foreign = plug_in and not error.absolute_path and _of_other_kinds(plug_in, str(name))
        return foreign or _unknown(path, str(name), schema["properties"])
    if error.validator == "exclusive":
        return (
            f"{_dotted(path)}: found {error.message}, expected only one of them. Remove the other "
            "(with null, if an earlier file sets it)."
        )
    if error.validator == "ordered":
        return f"{_dotted(path)}: {error.message}. Correct them."
    if error.validator == "required":
        name = next(key for key in schema["required"] if key not in value)
        part = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        return f"{_dotted([*path, name])}: is missing. Expected {expected(part)}."
    if "propertyNames" in error.absolute_schema_path:
        name = _dotted([*path, str(value)])
        hint = "" if isinstance(value, str) else " YAML reads it as no text: put it in quotes."
        return f"{name}: is a name that cannot be used. Expected {expected(schema)}.{hint}"
    if error.validator == "levels":
        return (
            f"{_dotted(path)}: found {_abbreviated(value)}, which is less than one of the 255 "
            "levels of a pixel. Expected a number in units of 1/255: did you mean "
            f"{round(255 * value, 2):g}?"
        )
    return (
        f"{_dotted(path)}: found {_abbreviated(value)}, expected {expected(schema)}.{_hint(error)}"
    )


def _hint(error: Any) -> str:
    """What may be behind a value that cannot be right."""
    value, schema = error.instance, error.schema
    if error.validator == "type" and isinstance(value, str) and _reads_as_number(value):
        return (
            " YAML reads this as text: leave out quotes, write 1e-4 as 1.0e-4, and put a mapping "
            "into a file instead of after --config."
        )
    if error.validator == "type" and value in ("null", "true", "false"):
        return (
            " YAML reads this as text: leave out quotes, and put a mapping into a file instead of "
            "after --config."
        )
    scalar = isinstance(value, bool | int | float | date)
    if error.validator == "type" and "string" in schema["type"] and scalar:
        return " YAML reads this as a number, a date or a truth value: put it in quotes."
    if error.validator == "type" and isinstance(value, int) and abs(value) >= LARGEST:
        return " This number takes more than 64 bits."
    if error.validator == "type" and isinstance(value, float) and abs(value) >= LARGEST_FLOAT:
        return f" Numbers with a point are smaller than {LARGEST_FLOAT:g}."
    if error.validator in ("minimum", "maximum") and "reason" in schema:
        return f" {schema['reason']}"
    if error.validator == "uniqueItems":
        twice = next(item for item in value if value.count(item) > 1)
        return f" {_abbreviated(twice)} is in it twice: remove one."
    if "enum" in schema:
        return nearest(str(value), map(str, schema["enum"]))
    return ""


def _of_other_kinds(plug_in: PlugIn, name: str) -> str | None:
    """The sentence about a key that other plug-ins of the sort have; None if none has it."""
    sort = kinds.SORTS[plug_in.sort]
    others = [kind.name for kind in kinds.kinds(plug_in.sort).values() if name in kind.keys]
    if not others:
        return None
    own = ", ".join(plug_in.kind().keys) or "none"
    return (
        f"{_dotted([*plug_in.path, name])}: belongs to the {sort.key} {' or '.join(others)}, but "
        f"the {sort.key} is {plug_in.kind_name}, whose own keys are: {own}. Remove the key (with "
        f"null, if an earlier file sets it), or change the {sort.key}."
    )


def _unknown(path: list[str | int], name: str, valid_keys: Iterable[str]) -> str:
    """The sentence about a key that does not exist."""
    valid_keys = sorted(valid_keys)
    near = [_dotted([*path, key]) for key in nearest_names(name, valid_keys)]
    elsewhere = [key.path for key in keys(load()) if key.path.endswith(f".{name}")][:3]
    where = f"below {_dotted(path)}" if path else "at the top"
    return (
        f"{_dotted([*path, name])}: is not a key of the configuration. Expected {where} one of: "
        f"{', '.join(valid_keys)}.{did_you_mean(near or elsewhere)}"
    )


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _dotted(parts: Iterable[str | int]) -> str:
    return "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts if part != ""
    ).removeprefix(".")


def _abbreviated(value: Any) -> str:
    """A value for a message, cut where it is long."""
    try:
        text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    except TypeError:  # a key that JSON does not have, such as a date
        text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
