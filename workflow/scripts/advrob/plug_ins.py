"""Plug-ins by name, imported where one is used and nowhere else."""

import importlib
from collections.abc import Mapping
from typing import Any

from advrob.errors import UserError, mentions_memory, of_code
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
