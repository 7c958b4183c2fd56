"""What is wrong with a configuration, for its user."""

from collections.abc import Iterable
from difflib import get_close_matches


class ConfigurationError(ValueError):
    """A value in the configuration that cannot be right; the message names its key."""


def did_you_mean(names: Iterable[str]) -> str:
    """A question that names the nearest valid names, if there are any."""
    listed = " or ".join(map(repr, names))
    return f" Did you mean {listed}?" if listed else ""


def nearest_names(
    name: str, names: Iterable[str], *, count: int = 1, alike: float = 0.6
) -> list[str]:
    """The names that are most like ``name``, nearest first.

    Args:
        name: that does not exist.
        names: that do.
        count: at most how many.
        alike: how alike they have to be, from 0 to 1.
    """
    return get_close_matches(name, [*names], n=count, cutoff=alike)


def nearest(name: str, names: Iterable[str]) -> str:
    """`did_you_mean` of the one name that is most like ``name``."""
    return did_you_mean(nearest_names(name, names))


def require_known(key: str, name: str, valid_names: Iterable[str], what: str) -> None:
    """Refuse a name that does not exist.

    Args:
        key: of the configuration.
        name: found in the configuration.
        valid_names: the names that exist.
        what: what they are names of, with an article.

    Raises:
        ConfigurationError: the name is none of them.
    """
    expected = sorted(valid_names)
    if name not in expected:
        raise ConfigurationError(
            f"{key}: '{name}' is not {what}. Expected one of: {', '.join(expected) or 'none'}."
            f"{nearest(name, expected)}"
        )
