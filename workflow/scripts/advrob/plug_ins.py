"""Plug-ins by name, imported where one is used and nowhere else."""

import importlib
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from advrob.errors import LIBRARY, UserError, is_installed, mentions_memory, of_code
from advrob.plan import kinds
from advrob.plan.errors import ConfigurationError


def load(sort: str, name: str) -> type:
    """The class of a plug-in.

    Args:
        sort: a key of `advrob.plan.kinds.SORTS`.
        name: of the kind.

    Raises:
        UserError: there is none of that name, or its file cannot be imported.
    """
    try:
        kind = kinds.kind(sort, name, f"{kinds.SORTS[sort].key} '{name}'")
    except ConfigurationError as error:
        raise UserError(str(error)) from None
    try:
        plug_in: type = getattr(importlib.import_module(f"advrob.{kind.module}"), kind.class_name)
    except Exception as error:  # the file may be its user's own
        raise UserError(
            f"advrob/{kind.module.replace('.', '/')}.py: cannot be imported ({of_code(error)}). "
            "Correct the file, or install what it needs."
        ) from error
    return plug_in


def make(sort: str, name: str, parameters: Mapping[str, Any]) -> Any:
    """A plug-in with the parameters that a configuration gives it.

    Raises:
        UserError: it refuses them, or see `load`.
    """
    plug_in = load(sort, name)
    try:
        return plug_in(**parameters)
    except UserError:
        raise
    except Exception as error:  # the file may be its user's own
        if mentions_memory(error):
            raise
        raise UserError(
            f"{kinds.SORTS[sort].key} '{name}': cannot be made with {dict(parameters)} "
            f"({of_code(error)}). Correct these keys, or the code."
        ) from error


def is_in_own_code(error: BaseException, *, script: str) -> bool:
    """Whether an error comes from a plug-in or from other code that may be its user's own.

    That is code which is neither installed nor the library's, or a plug-in's file. Installed
    packages that it calls count as the code that calls them.

    Args:
        error: as it was caught.
        script: the file of the job's script.
    """
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    innermost = next((file for file in reversed(files) if not is_installed(file)), script)
    if not innermost.startswith(LIBRARY):
        return innermost != script
    module = ".".join(Path(innermost).relative_to(LIBRARY).with_suffix("").parts)
    return any(module == kind.module for sort in kinds.SORTS for kind in kinds.kinds(sort).values())
