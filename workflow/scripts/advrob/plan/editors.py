"""The configuration's schema as editors take it: one JSON Schema with all plug-ins in it.

An editor sees one file, which may overlay others. So nothing is required in it, null may stand
anywhere, since it takes away what an earlier file gives, and where an earlier file may have said of
which kind an entry is, the keys of any kind may stand.

It is draft 7, the newest one that editors know in all parts.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from .kinds import SORTS, Kind, kinds
from .schema import load

# Words of JSON Schema that hold in a file which overlays another. Those that hold schemas, and our
# own, are translated.
COPIED_WORDS = (
    "title",
    "description",
    "default",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "propertyNames",
)


def editor_schema() -> dict[str, Any]:
    """The schema of a file of configuration, JSON Schema."""
    schema = load()
    overlay = _overlay(schema)
    top = overlay["properties"]
    raw = schema["properties"]
    definitions: dict[str, Any] = {}

    models = raw["models"]["additionalProperties"]
    own = models["properties"]
    base = _overlay(own["base"])
    train = _plug_in_entry("lesson", own["train"], definitions)
    gone = {key: {"type": "null"} for key in ("base", "train")}
    pretrained = {**models, "properties": {**own, **gone}}
    definitions["model"] = {
        "if": {"anyOf": [_all_present([key]) for key in gone]},
        "then": {"properties": {"base": base, "train": train}, "additionalProperties": False},
        "else": _plug_in_entry("model", pretrained, definitions),
    }
    _entries(top["models"], "model", gone)

    definitions["defence"] = _plug_in_entry(
        "defence", raw["defences"]["additionalProperties"], definitions
    )
    _entries(top["defences"], "defence")

    perturbations = raw["perturbations"]["properties"]
    made = top["perturbations"]["properties"]
    untargeted = perturbations["untargeted"]["additionalProperties"]
    definitions["attack"] = _plug_in_entry("attack", untargeted, definitions)
    _entries(made["untargeted"], "attack")
    made["universal"] = _plug_in_entry("universal", perturbations["universal"], definitions)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **overlay,
        "definitions": definitions,
    }


def _overlay(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of what may overlay an earlier value."""
    overlay = {word: schema[word] for word in COPIED_WORDS if word in schema}
    if "type" in schema:
        types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        overlay["type"] = [*types, *({"null"} - {*types})]
    if "enum" in schema:
        overlay["enum"] = list(dict.fromkeys([*schema["enum"], None]))
    if "properties" in schema:
        overlay["properties"] = {key: _overlay(part) for key, part in schema["properties"].items()}
    if "items" in schema:
        # An item overlays nothing: lists are replaced.
        items = schema["items"]
        overlay["items"] = {key: part for key, part in items.items() if key != "levels"}
        overlay["items"] |= _whole_levels(items)
    entries = schema.get("additionalProperties")
    if entries is not None:
        overlay["additionalProperties"] = (
            _overlay(entries) if isinstance(entries, dict) else entries
        )
    overlay |= _whole_levels(schema)
    if groups := schema.get("exclusive"):
        overlay["not"] = {"anyOf": [_all_present(group) for group in groups]}
    return overlay


def _whole_levels(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What our word ``levels`` means: no fraction of one level."""
    if "levels" not in schema:
        return {}
    ranges = [{"exclusiveMinimum": low, "exclusiveMaximum": low + 1} for low in (-1, 0)]
    return {"not": {"type": "number", "anyOf": ranges}}


def _all_present(keys: list[str]) -> dict[str, Any]:
    """The schema of a mapping in which several keys have values."""
    return {"required": list(keys), "properties": {key: {"not": {"type": "null"}} for key in keys}}


def _plug_in_entry(
    sort: str, common: Mapping[str, Any], definitions: dict[str, Any]
) -> dict[str, Any]:
    """The schema of an entry that names a plug-in, or whose plug-in an earlier file may name.

    Args:
        sort: of plug-in.
        common: the schema of the keys that all of them take.
        definitions: takes one for each plug-in, ``SORT KIND``.
    """
    key = SORTS[sort].key
    plug_ins = kinds(sort)
    for name, kind in plug_ins.items():
        definitions[f"{sort} {name}"] = _kind(kind, common)
    named = [
        {
            "if": {"required": [key], "properties": {key: {"const": name}}},
            "then": _reference(f"{sort} {name}"),
        }
        for name in plug_ins
    ]
    any_of_them = {"anyOf": [_reference(f"{sort} {name}") for name in plug_ins]}
    return {
        "type": ["object", "null"],
        "description": common["description"],
        "properties": {
            key: {**_overlay(common["properties"][key]), "enum": [*plug_ins, None]},
        },
        "allOf": [*named, {"if": {"not": {"required": [key]}}, "then": any_of_them}],
    }


def _kind(kind: Kind, common: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an entry of one kind."""
    return _overlay(
        {
            "type": "object",
            "description": kind.summary,
            "properties": {**common["properties"], **kind.keys},
            "additionalProperties": False,
            "exclusive": kind.traits.get("exclusive", ()),
        }
    )


def _entries(part: dict[str, Any], sort: str, other: Iterable[str] = ()) -> None:
    """Let the entries of a part be plug-ins, of the kind of their name if they say no other.

    Args:
        part: the schema of the part.
        sort: of plug-in.
        other: keys that say, besides the one that names the kind, that an entry is of another.
    """
    words = [SORTS[sort].key, *other]
    part["additionalProperties"] = _reference(sort)
    part["properties"] = {
        name: {
            "allOf": [_reference(sort)],
            "if": {"not": {"anyOf": [_all_present([word]) for word in words]}},
            "then": _reference(f"{sort} {name}"),
        }
        for name in kinds(sort)
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/definitions/{name.replace(' ', '%20')}"}
