"""Signals that tell a job to end."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

# What they tell, and who sends them.
REASONS = {
    signal.SIGTERM: "cancelled, pre-empted or out of time",
    signal.SIGINT: "Ctrl-C",
    signal.SIGHUP: "its terminal was closed",
}


class StoppedError(BaseException):
    """The job was stopped. No `Exception`, so that nothing but clearing up comes in between."""


def end_while_starting() -> None:
    """Let these signals end a job of Snakemake with one line, until `stopping` does.

    A job imports its libraries before anything else, which takes seconds; Ctrl-C would show where.
    """
    for number in REASONS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    job = sys.modules["__main__"].snakemake
    line = (
        f"error: rule {job.rule} was stopped ({_reason(number)}) while it started. Run the same "
        "command again.\n"
    )
    for log in job.log[:1]:
        with contextlib.suppress(OSError), Path(log).open("a", encoding="utf-8") as file:
            file.write(line)
    with contextlib.suppress(OSError):
        os.write(2, line.encode())
    # An exception would be caught by some import, or show where it came.
    os._exit(1)


def _reason(number: int) -> str:
    return f"{signal.Signals(number).name}: {REASONS[signal.Signals(number)]}"


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Let these signals raise an exception: temporary files are removed and the log says why.

    Whoever ends a job may say so twice, in two ways. From the first time on it is clearing up,
    until its process ends. A signal that it was started to ignore (nohup) stays ignored.

    Raises:
        StoppedError: one of them came.
    """
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise StoppedError(_reason(number))

    before = {
        number: handler
        for number in REASONS
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN
    }
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        if not stopped:
            for number, handler in before.items():
                signal.signal(number, handler)
