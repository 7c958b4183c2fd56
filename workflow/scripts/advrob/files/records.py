"""Lists of findings in JSON files: few, of text and numbers, to be read by people, too."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from advrob.errors import UserError
from advrob.files.atomic import replacing
from advrob.files.provenance import difference, named, refuse


def save_records(path: str | Path, records: Iterable[Any], **about: Any) -> None:
    """Write dataclass instances to a file.

    Args:
        path: the file to make or replace.
        records: the instances.
        about: what the file says of itself.
    """
    content = {"about": about, "records": [asdict(record) for record in records]}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def load_records(path: str | Path) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    """What `save_records` wrote: what the file is about, and the records.

    Raises:
        UserError: the file is damaged, or about something else than its name says.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        about, records = content["about"], content["records"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: cannot be read as records ({error}). Delete it and run Snakemake again."
        ) from error
    refuse(path, difference(about, named(path)))
    return about, records
