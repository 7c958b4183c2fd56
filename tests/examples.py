"""Values for the keys that a plug-in requires, so that contract tests need no list of plug-ins."""

from collections.abc import Mapping
from typing import Any

from advrob.plan.kinds import Kind


def required_values(kind: Kind) -> dict[str, Any]:
    """A value for each key without a default."""
    return {key: example(kind.keys[key]) for key in kind.required}


def example(schema: Mapping[str, Any]) -> Any:
    """A value that a schema allows: of a number, the middle of its range, or one above its limit.

    A pattern, or items that must differ, it does not look at.
    """
    if "enum" in schema:
        return schema["enum"][0]
    match schema["type"]:
        case "boolean":
            return True
        case "string":
            return "a"
        case "array":
            return [example(schema["items"])] * schema.get("minItems", 1)
        case "object":
            return {key: example(part) for key, part in schema.get("properties", {}).items()}
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None:
        number = 1 if high is None else high - 1
    else:
        number = low + 1 if high is None else (low + high) / 2
    return int(number) if schema["type"] == "integer" else float(number)
