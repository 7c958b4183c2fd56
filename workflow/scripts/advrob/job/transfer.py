"""What a web server sends, within limits: no server may keep a job for ever."""

import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from types import FrameType

from advrob.job.disk import readable
from advrob.job.progress import progress

# Seconds until a server must answer, and in which it may send nothing.
PATIENCE = 60.0
# Bytes per second that a transfer must have reached, from its start, after that time: a file of
# ImageNet's size, 150 GB, then takes 18 days at most.
RATE = 100_000.0
# Bytes that a server may send that does not say how many it will: more than ImageNet has.
LARGEST = 200 * 10**9
_BLOCK = 1 << 20


def download(url: str) -> Iterator[bytes]:
    """The content of an address, block by block, with progress.

    A file of ``n`` bytes takes ``PATIENCE + n / RATE`` seconds at most.

    Raises:
        TimeoutError: the server does not answer, is too slow, or does not come to an end.
        urllib.error.URLError: it cannot be reached, or refuses.
        http.client.HTTPException: its answer makes no sense.
        ValueError: the address is none.
    """
    with _within(PATIENCE, "it did not answer"):
        answer = urllib.request.urlopen(url, timeout=PATIENCE)
    with answer:
        length = answer.headers.get("Content-Length")
        size = int(length) if length else None
        yield from progress(_blocks(answer, size), "MiB", -(-(size or 0) // _BLOCK))


def _blocks(answer: HTTPResponse, size: int | None) -> Iterator[bytes]:
    started, total = time.monotonic(), 0
    limit, block = LARGEST if size is None else size, bytearray()
    # What is there, at once: for a whole block one that drips would be waited for.
    while total != size and (part := answer.read1(_BLOCK)):
        block += part
        total += len(part)
        spent = time.monotonic() - started
        if total > limit:
            raise TimeoutError(f"it sent more than {readable(limit)} and did not end")
        if spent > PATIENCE and total < RATE * (spent - PATIENCE):
            raise TimeoutError(
                f"it sent {readable(total)} in {spent:.0f} s, expected {readable(RATE)} a second"
            )
        if len(block) >= _BLOCK:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


@contextmanager
def _within(seconds: float, otherwise: str) -> Iterator[None]:
    """Interrupt what takes longer, also where each of its steps has a limit of its own."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"{otherwise} within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
