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
from markupsafe import Markup

from advrob.files.atomic import replacing
from advrob.report import timings
from advrob.report.answer import ROBUST, Answer
from advrob.report.entries import Entry
from advrob.report.sentences import name, within
from advrob.report.timings import Jobs

STYLE = Path(__file__).with_name("style.css")
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
        versions=with_packages(versions),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **content,
    )
    with replacing(path) as temporary:
        # Names of files may be no text.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_data(path: str, data: Mapping[str, Any], versions: Mapping[str, str]) -> None:
    """Write the answer as JSON, with the versions that it was made with.

    Args:
        path: where it goes.
        data: the answer.
        versions: of Python and Snakemake.
    """
    text = json.dumps({**data, "versions": with_packages(versions)}, indent=1)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def with_packages(versions: Mapping[str, str]) -> dict[str, str]:
    """Versions of Python and Snakemake, and those of the packages that results depend on."""
    return {**versions, **{package: metadata.version(package) for package in PACKAGES}}


def fill(template: str, **content: Any) -> str:
    """Fill the template, with the pages' ``style`` as one of its values.

    Everything but `Markup` is escaped, and nothing may be missing.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        duration=timings.duration, within=within, name=name, unbroken=_unbroken
    )
    style = Markup(STYLE.read_text(encoding="utf-8"))
    return environment.from_string(template).render(content, style=style)


def _unbroken(text: object) -> str:
    """A text without line breaks between a number and its percent sign."""
    return str(text).replace(" %", "\u00a0%")


def plain_yaml(config: Mapping[str, Any]) -> str:
    """A configuration as YAML, its keys in their order."""
    plain = json.loads(json.dumps(config))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
