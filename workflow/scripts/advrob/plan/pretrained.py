"""Pretrained weights of a defence, and a model that it learns from.

A kind of defence with the key ``weights`` has pretrained weights. If its trait ``package`` names a
Python package and a file in it, that file is the default, and its trait ``install`` says how to
install it. A kind whose trait ``classifier`` names one of its keys learns from the predictions of
the model that this key names.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .contents import sha256
from .errors import ConfigurationError, require_known
from .kinds import Kind


def packaged(package: str, file: str) -> Path | None:
    """A file in an installed Python package, which is not imported; None if there is none."""
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / file if spec and spec.origin else None
    return path if path and path.is_file() else None


def weights_file(kind: Kind, entry: Mapping[str, Any]) -> Path | None:
    """The file with a defence's weights, whether it exists or not.

    Returns:
        None for a kind without weights, and if neither the entry nor a package has a file.
    """
    if "weights" not in kind.keys:
        return None
    if (file := kind.values(entry)["weights"]) is not None:
        return Path(file)
    return packaged(*kind.traits["package"]) if "package" in kind.traits else None


def classifier(kind: Kind, entry: Mapping[str, Any]) -> str | None:
    """The name of the model that a defence learns from; None if it learns from none."""
    name = kind.values(entry).get(kind.traits.get("classifier", ""))
    return None if name is None else str(name)


def check_weights(key: str, kind: Kind, entry: Mapping[str, Any]) -> None:
    """Refuse a defence whose weights are missing or do not match its checksum.

    Args:
        key: of the entry, dotted.
        kind: of the defence.
        entry: its keys.

    Raises:
        ConfigurationError: the message says what to do.
    """
    if "weights" not in kind.keys:
        return
    file, install = weights_file(kind, entry), kind.traits.get("install", "")
    hint = f" {install}." if install else ""
    if file is None and ("package" in kind.traits or "weights" in kind.required):
        raise ConfigurationError(
            f"{key}.weights: is missing, and no Python package with the weights of {kind.name} is "
            f"installed.{hint} Or name a file that has them."
        )
    if file is None:
        return
    if not file.is_file():
        raise ConfigurationError(
            f"{key}.weights: found no file {file}. Put the weights of {kind.name} there, or name "
            f"another file.{hint}"
        )
    expected = kind.values(entry).get("sha256")
    if expected is not None and (checksum := sha256(file)) != expected:
        raise ConfigurationError(
            f"{key}.sha256: {file} has {checksum}, expected {expected}. Get the file again, or "
            "correct the checksum if you trust the file."
        )


def check_classifier(
    key: str, kind: Kind, entry: Mapping[str, Any], models: Mapping[str, Any]
) -> None:
    """Refuse a defence that learns from a model which the configuration lacks.

    Args:
        key: of the entry, dotted.
        kind: of the defence.
        entry: its keys.
        models: of the configuration.

    Raises:
        ConfigurationError: the message suggests the nearest name.
    """
    if name := classifier(kind, entry):
        require_known(f"{key}.{kind.traits['classifier']}", name, models, "a model")
