"""``docs/configuration.md``, made from the configuration's schema and the files of the plug-ins.

Run it as ``PYTHONPATH=workflow/scripts python -m advrob.plan.document > docs/configuration.md``.
With ``--schema`` it prints the JSON Schema for editors, `advrob.plan.editors`.
"""

import json
import sys
from collections.abc import Iterable

from advrob.plan.editors import editor_schema
from advrob.plan.kinds import SORTS, Kind, kinds
from advrob.plan.schema import Key, expected, keys, load

HEAD = """\
# Configuration

<!-- Made by advrob.plan.document from advrob/plan/config.schema.yaml and the files of the
plug-ins; edit those. -->

{description}
The default is [config.yaml](../config.yaml). Override any part of it with files
(`--configfile presets/imagenette.yaml mine.yaml`: later ones win) or single keys
(`--config seed=1 batch_size=64`). `null` removes an entry of an earlier file. The workflow reports
an unknown key or an invalid value before it runs anything, and suggests the nearest valid name.
Your editor can check the file, too, with
[config.schema.json](../workflow/schemas/config.schema.json).

In the names of keys, `<name>` is a name that you choose, and `[]` stands for each item of a list.
Keys of a kind, a method or a lesson stand beside the key that names it.
"""
TABLE = "| Key | Value | Default | Meaning |\n| --- | --- | --- | --- |"
# The heading above the plug-ins of a sort.
HEADINGS = {
    "model": "Kinds of model",
    "lesson": "Lessons",
    "defence": "Kinds of defence",
    "universal": "Universal methods",
    "attack": "Kinds of attack",
}


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
        for sort, heading in HEADINGS.items():
            if SORTS[sort].section.partition(".")[0] == part.path:
                sections += _plug_ins(sort, heading)
    return "\n".join(sections)


def _inner(key: Key) -> dict[str, object]:
    """What says which keys are below one."""
    entries = key.schema.get("additionalProperties")
    return dict(entries if isinstance(entries, dict) else key.schema)


def _plug_ins(sort: str, heading: str) -> list[str]:
    """A section with all plug-ins of a sort."""
    about = SORTS[sort]
    plug_ins = kinds(sort)
    # A universal method's keys stand in one place, others in entries that have names.
    names = ", ".join(f"`{name}`" for name in plug_ins)
    intro = (
        f"`{about.section}.{about.key}` is one of {names}: the files in `advrob/{about.folder}`."
    )
    sections = [f"### {heading}\n", f"{intro}\n"]
    for name, kind in plug_ins.items():
        sections += [f"#### {name}\n", *_plug_in(kind)]
    return sections


def _plug_in(kind: Kind) -> list[str]:
    """What a plug-in is, and its keys."""
    section = [f"{kind.summary.replace('``', '`')}\n"]
    own = {"properties": kind.keys, "required": kind.required}
    if kind.keys:
        section.append(_table(keys(own)))
    if sentence := _together(kind.traits):
        section.append(f"{sentence}\n")
    return section


def _together(words: object) -> str:
    """What a schema, or the traits of a plug-in, says about keys that depend on each other."""
    groups = dict(words) if isinstance(words, dict) else {}
    return " ".join(
        [
            *(f"{_listed(group)} exclude each other." for group in groups.get("exclusive", ())),
            *(
                f"{_listed(group)} must be in ascending order."
                for group in groups.get("ordered", ())
            ),
        ]
    )


def _listed(names: Iterable[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)


def _table(table_keys: Iterable[Key]) -> str:
    return "\n".join([TABLE, *map(_row, table_keys), ""])


def _row(key: Key) -> str:
    if key.required:
        default = "required"
    elif "default" in key.schema:
        default = f"`{json.dumps(key.schema['default'])}`"
    else:
        default = ""
    meaning = " ".join(
        filter(
            None,
            [key.schema.get("description"), key.schema.get("reason"), _together(key.schema)],
        )
    )
    cells = [f"`{key.path}`", expected(key.schema), default, meaning]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    text = json.dumps(editor_schema(), indent=1) + "\n" if "--schema" in sys.argv else document()
    print(text, end="")
