"""What the kinds that build from a library's zoo share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from advrob.errors import UserError
from advrob.plan.errors import nearest_names


@contextmanager
def download(name: str) -> Iterator[None]:
    """Explain errors of the block as a failed download.

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


def check_architecture(
    name: str, library: str, architecture: str, available: Sequence[str]
) -> None:
    """Refuse an architecture that a library does not have.

    Args:
        name: of the configuration entry.
        library: its name, for the message.
        architecture: the configured one.
        available: all architectures that it has.

    Raises:
        UserError: with the nearest names.
    """
    if architecture not in available:
        nearest = nearest_names(architecture, available, count=3, alike=0.4)
        raise UserError(
            f"models.{name}.architecture: {library} has no '{architecture}'. Nearest names: "
            f"{', '.join(nearest) or 'none'}."
        )
