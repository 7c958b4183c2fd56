"""The one exception for what a user can put right, and where it is in code of the user's own."""

import os
import sysconfig
import traceback
from pathlib import Path

LIBRARY = f"{Path(__file__).parent}{os.sep}"
# Where Python and packages are installed.
INSTALLED = tuple(
    f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


class UserError(Exception):
    """A mistake in the configuration, an input file or the machine's set-up.

    The message names the file or the configuration key, what was found, what was expected and
    what to do. Scripts print it without a stack trace.
    """


def mentions_memory(error: BaseException) -> bool:
    """Whether an error may be about memory, and so not about the code that it comes from."""
    return isinstance(error, MemoryError) or "memory" in str(error)


def of_code(error: BaseException, *, below: int = 1) -> str:
    """What went wrong in code that somebody else wrote, in one line: no stack trace.

    Args:
        error: as it was caught.
        below: how many of the innermost library's calls led there: frames that are left out.
    """
    reason = " ".join(str(error).split())[:300]
    frames = traceback.extract_tb(error.__traceback__)[below:]
    frames = [frame for frame in frames if Path(frame.filename).is_absolute()]
    own = [frame for frame in frames if not is_installed(frame.filename)] or frames
    where = f" at {own[-1].filename}, line {own[-1].lineno}" if own else ""
    if isinstance(error, SyntaxError):
        where = f" at {error.filename}, line {error.lineno}"
    return (
        f"{type(error).__name__}: {reason}{where}" if reason else f"{type(error).__name__}{where}"
    )


def is_installed(file: str) -> bool:
    """Whether code of a file is Python's own or of an installed package other than this library.

    Compiled code names its source as it was when it was built: by no absolute path.
    """
    return not Path(file).is_absolute() or (
        file.startswith(INSTALLED) and not file.startswith(LIBRARY)
    )
