"""Photographs on disk, in archives and in packages, drawn and decoded into image files."""

import importlib
from typing import Any

# What users of the library need, and the modules that define it, imported on first use: a plan
# takes the fingerprint of photographs and should not wait a second for PyTorch.
_MODULES = {"extract": "subset", "load": "subset", "verify": "archives", "fingerprint": "contents"}

__all__ = ["extract", "fingerprint", "load", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
