"""A page with the run's answer: one HTML file that needs neither a network nor Snakemake.

Tables are read as the workflow writes them for programs, captions are those of its reports, and
pictures are part of the page. Whatever comes from a file or the configuration is escaped.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from advrob.files import store
from advrob.report import timings
from advrob.report.answer import ROBUST, Answer
from advrob.report.entries import Entry
from advrob.report.sentences import name, within
from advrob.report.timings import Jobs

# What results depend on, of what is installed.
PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "h5py", "pillow", "matplotlib")


def write(
    path: str,
    template: str,
    *,
    answer: Answer,
    sentences: Mapping[str, Sequence[str]],
    entries: Sequence[Entry],
    jobs: Jobs,
    configuration: Mapping[str, Any],
    versions: Mapping[str, str],
    **content: Any,
) -> None:
    """Write the page.

    Args:
        path: where it goes.
        template: the file with its template.
        answer: what was found.
        sentences: the same in words.
        entries: tables and figures.
        jobs: where jobs ran and what they took.
        configuration: all of it, defaults included.
        versions: of Python and Snakemake.
        content: what else the template asks for.
    """
    text = fill(
        Path(template).read_text(encoding="utf-8"),
        answer=answer,
        sentences=sentences,
        robust=ROBUST,
        entries=entries,
        jobs=jobs,
        configuration=plain_yaml(configuration),
        versions={**versions, **{package: metadata.version(package) for package in PACKAGES}},
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **content,
    )
    with store.replacing(path) as temporary:
        # Names of files may be no text.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_data(path: str, data: Mapping[str, Any]) -> None:
    """Write the answer as JSON."""
    with store.replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def fill(template: str, **content: Any) -> str:
    """Fill the template; everything but `Markup` is escaped, and nothing may be missing."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        duration=timings.duration, within=within, name=name, unbroken=_unbroken
    )
    return environment.from_string(template).render(content)


def _unbroken(text: object) -> str:
    """A text without line breaks between a number and its percent sign."""
    return str(text).replace(" %", "\u00a0%")


def plain_yaml(config: Mapping[str, Any]) -> str:
    """A configuration as YAML, its keys in their order."""
    plain = json.loads(json.dumps(config))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
