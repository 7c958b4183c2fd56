"""What the kinds that build from a library's zoo share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches

from advrob.errors import UserError


@contextmanager
def download(name: str) -> Iterator[None]:
    """Explain what goes wrong inside as a download that failed.

    Args:
        name: of the configuration entry.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"models.{name}: its pretrained weights cannot be downloaded ({error}). Run once with "
            f"a network connection, or download them elsewhere and name the file in "
            f"models.{name}.weights."
        ) from error


def check_known(name: str, library: str, architecture: str, known: Sequence[str]) -> None:
    """Refuse an architecture that a library does not have.

    Args:
        name: of the configuration entry.
        library: its name, for the message.
        architecture: what was asked for.
        known: all that there are.

    Raises:
        UserError: with the nearest names.
    """
    if architecture not in known:
        near = get_close_matches(architecture, known, n=3, cutoff=0.4)
        raise UserError(
            f"models.{name}.architecture: {library} has no '{architecture}'. Nearest names: "
            f"{', '.join(near) or 'none'}."
        )
