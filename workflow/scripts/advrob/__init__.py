"""Attacks, defences and their evaluation: the library behind the workflow's scripts.

Images are float tensors ``(N, 3, H, W)``, RGB in [0, 1]; radii and magnitudes are in units of
1/255 of that range, everywhere.
"""

import importlib
import sys
from typing import Any

# What can be called as ``advrob.name``, and where it is. It is imported when it is first asked for:
# Snakemake reads the configuration with this package on every call, and needs no PyTorch for it.
EXPORTS = {"checkup": "advrob.evaluation.checkup", "evaluate": "advrob.robustness"}


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module 'advrob' has no attribute '{name}'")
    return getattr(importlib.import_module(EXPORTS[name]), name)


# A job's script imports this package before PyTorch and others, which take seconds.
if hasattr(sys.modules["__main__"], "snakemake"):
    importlib.import_module("advrob.job.signals").end_while_starting()
