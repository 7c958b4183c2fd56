"""Signals that tell a job to end."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

# What they tell, and who sends them.
REASONS = {
    signal.SIGTERM: "cancelled, pre-empted or out of time",
    signal.SIGINT: "Ctrl-C",
    signal.SIGHUP: "its terminal was closed",
}


class StoppedError(BaseException):
    """The job was stopped. No `Exception`, so that nothing but clearing up comes in between."""


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
        raise StoppedError(f"{signal.Signals(number).name}: {REASONS[signal.Signals(number)]}")

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
