"""What the zoos of timm and torchvision have, read from their files without importing them."""

import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from .errors import ConfigurationError, nearest_names
from .kinds import Kind
from .pretrained import packaged

# The function below such a line has the name of an architecture.
REGISTERED = re.compile(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


def check_entry(name: str, kind: Kind, entry: Mapping[str, Any]) -> None:
    """Refuse a model whose architecture its kind's zoo does not have.

    A kind whose trait ``zoo`` names a library has its architectures. Where the library is not
    installed, as beside environments of the jobs' own, the first job reports it.

    Args:
        name: of the configuration entry.
        kind: of the model.
        entry: its keys.

    Raises:
        ConfigurationError: with the nearest names.
    """
    library = str(kind.traits.get("zoo", ""))
    files = sources(library) if library else ()
    # timm's names may end with the tag of the weights.
    architecture = entry.get("architecture", name)
    plain = architecture.partition(".")[0] if library == "timm" else architecture
    # Former names stand in quotes there.
    if files and not any(f"'{plain}'" in text or f'"{plain}"' in text for text in files):
        check_architecture(name, library, plain, architectures(library))


def architectures(library: str) -> list[str]:
    """The names that an installed library's architectures have now, in alphabetical order."""
    return sorted(name for text in sources(library) for name in REGISTERED.findall(text))


@cache
def sources(library: str) -> tuple[str, ...]:
    """The files of an installed library's models; none if it is not installed."""
    start = packaged(library, "models/__init__.py")
    found = sorted(start.parent.glob("*.py")) if start else []
    return tuple(file.read_text(encoding="utf-8") for file in found)


def check_architecture(
    name: str, library: str, architecture: str, available: Collection[str]
) -> None:
    """Refuse an architecture that a library does not have.

    Args:
        name: of the configuration entry.
        library: its name, for the message.
        architecture: the configured one.
        available: all architectures that it has.

    Raises:
        ConfigurationError: with the nearest names.
    """
    if architecture not in available:
        nearest = nearest_names(architecture, available, count=3, alike=0.4)
        raise ConfigurationError(
            f"models.{name}.architecture: {library} has no '{architecture}'. Nearest names: "
            f"{', '.join(nearest) or 'none'}."
        )
