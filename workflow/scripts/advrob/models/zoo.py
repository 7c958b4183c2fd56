"""What the kinds that build from a library's zoo share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from advrob.errors import UserError
from advrob.plan import zoos
from advrob.plan.errors import ConfigurationError


@contextmanager
def download(name: str) -> Iterator[None]:
    """Explain errors of the block as a failed download.

    Args:
        name: of the configuration entry.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if "invalid hash value" in str(error):
            raise UserError(
                f"models.{name}: its pretrained weights are not what was downloaded ({error}): a "
                "part of them, or a proxy's page. Run the same command again, or download them "
                f"elsewhere and name the file in models.{name}.weights."
            ) from error
        raise UserError(
            f"models.{name}: its pretrained weights cannot be downloaded ({error}). Run once with "
            f"a network connection, or download them elsewhere and name the file in "
            f"models.{name}.weights."
        ) from error


def check_architecture(
    name: str, library: str, architecture: str, available: Sequence[str]
) -> None:
    """`advrob.plan.zoos.check_architecture`, in a job.

    Raises:
        UserError: the library does not have it.
    """
    try:
        zoos.check_architecture(name, library, architecture, available)
    except ConfigurationError as error:
        raise UserError(str(error)) from None
