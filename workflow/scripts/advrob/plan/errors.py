"""What is wrong with a configuration, for its user."""

from collections.abc import Iterable
from difflib import get_close_matches


class ConfigurationError(ValueError):
    """A value in the configuration that cannot be right; the message names its key."""


def did_you_mean(names: Iterable[str]) -> str:
    """A question that names the nearest valid names, if there are any."""
    listed = " or ".join(map(repr, names))
    return f" Did you mean {listed}?" if listed else ""


def nearest(found: str, names: Iterable[str]) -> str:
    """`did_you_mean` of the one name that is most like what was found."""
    return did_you_mean(get_close_matches(found, [*names], n=1))


def require_known(key: str, found: str, names: Iterable[str], what: str) -> None:
    """Refuse a name that does not exist.

    Args:
        key: of the configuration.
        found: the name.
        names: the valid ones.
        what: what they are names of, with an article.

    Raises:
        ConfigurationError: the name is none of them.
    """
    expected = sorted(names)
    if found not in expected:
        raise ConfigurationError(
            f"{key}: '{found}' is not {what}. Expected one of: {', '.join(expected) or 'none'}."
            f"{nearest(found, expected)}"
        )
