"""Configurations for the tests of the plan."""

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from advrob.plan.errors import ConfigurationError
from advrob.plan.plan import Plan
from conftest import ROOT


def default() -> dict[str, Any]:
    """The default configuration, to change as you like."""
    return copy.deepcopy(_read())


@cache
def _read() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


def changed(change: Mapping[Any, Any] | str) -> dict[str, Any]:
    """The default, overlaid as Snakemake does it; a change is a mapping, or YAML."""
    config = default()
    update_config(config, yaml.safe_load(change) if isinstance(change, str) else change)
    return config


def refusal(change: Mapping[Any, Any] | str) -> str:
    """The sentence that a change is refused with."""
    with pytest.raises(ConfigurationError) as error:
        Plan(changed(change))
    message = str(error.value)
    assert "\n" not in message
    return message


def preset(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The default overlaid with a preset, in a folder with files that it names."""
    text = (ROOT / f"presets/{name}.yaml").read_text(encoding="utf-8")
    config = changed(text) | {"images_root": "photographs"}
    monkeypatch.chdir(folder)
    for entry in config["models"].values():
        if "weights" in entry:
            file = folder / entry["weights"]
            file.parent.mkdir(exist_ok=True)
            file.touch()
    return config
