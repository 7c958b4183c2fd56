"""The configuration's schema: its keys, what each may be, and a mistake put in a sentence.

Like `advrob.plan.configuration` it is part of the Snakefile, so it imports nothing of the library.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[3] / "schemas/config.schema.yaml"

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
# The longest value that a message repeats, in characters.
LONGEST = 60


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
    """What a value may be, in words that go on from "Expected"."""
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if isinstance(schema["type"], str):
        return TYPES[schema["type"]] + _limits(schema)
    kind, null = schema["type"]
    return f"{TYPES[null]} or {TYPES[kind]}{_limits(schema)}"


def _limits(schema: Mapping[str, Any]) -> str:
    """What the keywords of a schema other than its type ask for."""
    unit = " in units of 1/255" if "levels" in schema else ""
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']} to {schema['maximum']}{unit}"
    words = {
        "exclusiveMinimum": "above {}",
        "minimum": "of at least {}",
        "maximum": "of at most {}",
        "minProperties": "of at least {} entry",
        "pattern": "that matches {}",
    }
    limits = [word.format(schema[key]) for key, word in words.items() if key in schema]
    if "enum" in schema.get("not", {}):
        limits.append(f"other than {', '.join(schema['not']['enum'])}")
    if "items" in schema:
        limits.append(f"of {_items(schema)}")
    return (" " + " and ".join(limits) if limits else "") + unit


def _items(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    different = "different " if schema.get("uniqueItems") and least > 1 else ""
    items = f"{least} {different}item{'s' if least > 1 else ''}"
    count = items if least == most else f"at least {items}" if least else "items"
    return f"{count}, each {expected(schema['items'])}"


def mistake(config: Mapping[str, Any]) -> str | None:
    """The first thing in a configuration that the schema does not allow, in a sentence.

    It names the key by its dotted path, what was found, what is expected and the nearest name.
    Stricter than JSON Schema in two things: 2.0 is not a whole number, and NaN not a number. The
    schema's own keyword ``levels`` marks numbers in units of 1/255, of which a fraction of one is
    refused: most papers give them in units of 1.

    Returns:
        None where there is none.
    """
    # Later than at the top: the documentation of the schema needs no validator.
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def levels(validator: Any, wanted: bool, value: Any, schema: Any) -> Iterator[ValidationError]:
        if wanted and _is_number(value) and 0 < abs(value) < 1:
            yield ValidationError("less than one level")

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda checker, value: _is_number(value) and isinstance(value, int),
            "number": lambda checker, value: _is_number(value) and math.isfinite(value),
        }
    )
    extended = extend(Draft202012Validator, {"levels": levels}, type_checker=types)
    validator = extended(load())
    # The schema names additionalProperties before required: what is missing is often misspelled.
    error = next(validator.iter_errors(config), None)
    return None if error is None else _sentence(error)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sentence(error: Any) -> str:
    """An error of jsonschema, for a user."""
    path, found, schema = list(error.absolute_path), error.instance, error.schema
    if error.validator == "additionalProperties":
        (name, *_) = [key for key in found if key not in schema["properties"]]
        return _unknown(path, str(name), schema["properties"])
    if error.validator == "required":
        name = next(key for key in schema["required"] if key not in found)
        part = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        return f"{_dotted([*path, name])}: is missing. Expected {expected(part)}."
    if "propertyNames" in error.absolute_schema_path:
        name = _dotted([*path, str(found)])
        return f"{name}: is a name that cannot be used. Expected {expected(schema)}."
    if error.validator == "levels":
        return (
            f"{_dotted(path)}: found {_shown(found)}, which is less than one of the 255 levels of "
            "a pixel. Expected a number in units of 1/255: did you mean "
            f"{round(255 * found, 2):g}?"
        )
    hint = ""
    if error.validator == "type" and isinstance(found, str) and _reads_as_number(found):
        hint = " YAML takes what was found for text: leave out quotes, and write 1e-4 as 1.0e-4."
    elif "enum" in schema:
        hint = _did_you_mean(get_close_matches(str(found), map(str, schema["enum"]), n=1))
    return f"{_dotted(path)}: found {_shown(found)}, expected {expected(schema)}.{hint}"


def _unknown(path: list[str | int], name: str, known: Iterable[str]) -> str:
    """The sentence about a key that does not exist."""
    known = sorted(known)
    near = [_dotted([*path, key]) for key in get_close_matches(name, known, n=1)]
    elsewhere = [key.path for key in keys(load()) if key.path.endswith(f".{name}")][:3]
    where = f"below {_dotted(path)}" if path else "at the top"
    return (
        f"{_dotted([*path, name])}: is no key of the configuration. Expected {where} one of: "
        f"{', '.join(known)}.{_did_you_mean(near or elsewhere)}"
    )


def _did_you_mean(names: list[str]) -> str:
    return f" Did you mean {' or '.join(map(repr, names))}?" if names else ""


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


def _shown(value: Any) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
