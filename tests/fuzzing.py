"""What the tests with damaged inputs share: limits, and how bytes are damaged."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# Bytes of memory that no input may take in all, and seconds that none may take.
MOST, LONGEST = 2 * 10**9, 60

# Where bytes are replaced, as shares of the whole, and by what.
DAMAGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8)

fuzzed = settings(
    max_examples=130,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def damaged(data: bytes, damages: list[tuple[float, int]], fraction: float) -> bytes:
    """Bytes with some replaced, and cut after a share of them."""
    changed = bytearray(data)
    for position, value in damages:
        changed[int(position * (len(data) - 1))] = value
    return bytes(changed[: int(fraction * len(data)) + 1])


@contextmanager
def memory_limited() -> Iterator[None]:
    """Let no allocation succeed beyond `MOST`."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + MOST, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def time_limited() -> Iterator[None]:
    """Fail where one input takes longer than `LONGEST`, also inside a library."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"not done within {LONGEST} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
