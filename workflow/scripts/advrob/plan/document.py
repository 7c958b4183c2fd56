"""``docs/configuration.md``, made from the configuration's schema.

Run it as ``PYTHONPATH=workflow/scripts python -m advrob.plan.document > docs/configuration.md``.
"""

import json

from advrob.plan.schema import Key, expected, keys, load

HEAD = """\
# Configuration

<!-- Made from workflow/schemas/config.schema.yaml by advrob.plan.document; edit the schema. -->

{description}
The default is [config.yaml](../config.yaml). Override any part of it with files
(`--configfile presets/imagenette.yaml mine.yaml`: later ones win) or single keys
(`--config seed=1 batch_size=64`). What does not fit below is refused before anything runs, in a
sentence that names the key and the nearest one that exists.

In the names of keys, `<name>` is a name that you choose, and `[]` stands for each item of a list.
"""
TABLE = "| Key | Value | Default | Meaning |\n| --- | --- | --- | --- |"


def document() -> str:
    """The document, Markdown: a section for each part of the configuration."""
    schema = load()
    every = list(keys(schema))
    parts = [key for key in every if "." not in key.path and "properties" in _inner(key)]
    single = [key for key in every if "." not in key.path and key not in parts]
    sections = [HEAD.format(description=schema["description"]), "## Run\n", _table(single)]
    for part in parts:
        below = [key for key in every if key.path.startswith(f"{part.path}.")]
        sections += [f"## {part.path}\n", f"{part.schema['description']}\n", _table(below)]
    return "\n".join(sections)


def _inner(key: Key) -> dict[str, object]:
    """What says which keys are below one."""
    entries = key.schema.get("additionalProperties")
    return dict(entries if isinstance(entries, dict) else key.schema)


def _table(found: list[Key]) -> str:
    return "\n".join([TABLE, *map(_row, found), ""])


def _row(key: Key) -> str:
    if key.required:
        default = "required"
    elif "default" in key.schema:
        default = f"`{json.dumps(key.schema['default'])}`"
    else:
        default = ""
    cells = [f"`{key.path}`", expected(key.schema), default, key.schema["description"]]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    print(document(), end="")
