"""Plug-ins by name, imported where one is used and nowhere else."""

import importlib

from advrob.errors import UserError
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
    except ImportError as error:
        raise UserError(
            f"advrob/{kind.module.replace('.', '/')}.py: cannot be imported ({error}). Correct the "
            "file, or install what it needs."
        ) from error
    return plug_in
