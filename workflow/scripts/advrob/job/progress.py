"""Lines that say how far a long job is."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

# The rule and the log of the running job, while that log takes what is printed.
LOG_NAMES: list[str] = []


def progress(items: Iterable[T], what: str, total: int, every: float = 10.0) -> Iterator[T]:
    """Yield ``items``, printing a line with rate and remaining time every so many seconds.

    Plain lines without control characters: they are read in log files. In a job whose Snakemake
    writes to a terminal they appear there as well, behind the rule and its log.
    """
    started = reported = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - reported >= every:
            reported = now
            rate = done / (now - started)
            left = (total - done) / rate
            line = f"{what}: {done}/{total}, {rate:.3g}/s, {left:.0f} s left"
            print(line, flush=True)
            terminal = sys.__stderr__
            if LOG_NAMES and terminal is not None and terminal.isatty():
                print(f"{LOG_NAMES[-1]}: {line}", file=terminal, flush=True)
