"""Work on photographs in several threads that the job does not wait for when it ends.

A file on a file system that no longer answers blocks its thread for ever. Python would wait for the
threads of `concurrent.futures` when the job ends; it does not wait for these.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from advrob.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

# Items that may be started before the first of them is asked for.
_AHEAD = 64

# Seconds for a photograph to be read and decoded.
PATIENCE = 300.0

# Seconds between lines in the log, and between looks at a running call.
_MINUTE, _POLL = 60.0, 0.5


def in_order(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    threads: int,
    name: Callable[[T], str],
) -> Iterator[Future[R]]:
    """Finished calls of a function, in the items' order, started little ahead of being asked for.

    Args:
        function: what to do with an item.
        items: the items.
        threads: how many work at a time.
        name: how to call an item in an error.

    Raises:
        UserError: an item took longer than `PATIENCE`.
        MemoryError: there is no room for another thread.
    """
    tasks: queue.SimpleQueue[tuple[Future[R], T] | None] = queue.SimpleQueue()
    pending: deque[tuple[Future[R], T]] = deque()

    def work() -> None:
        while (task := tasks.get()) is not None:
            future, item = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(item))
                except BaseException as error:
                    future.set_exception(error)

    def first_result() -> Future[R]:
        future, item = pending.popleft()
        if not _finished(future, PATIENCE):
            raise UserError(
                f"{name(item)}: could not be read within {PATIENCE:.0f} s. Expected a file "
                "system that responds. Check the disk or the file server, and run the same command "
                "again."
            )
        return future

    try:
        for _ in range(threads):
            _start(work)
        for item in items:
            future: Future[R] = Future()
            pending.append((future, item))
            tasks.put((future, item))
            if len(pending) >= _AHEAD:
                yield first_result()
        while pending:
            yield first_result()
    finally:
        for future, _ in pending:
            future.cancel()
        for _ in range(threads):
            tasks.put(None)


def in_thread(function: Callable[[], R], activity: str) -> R:
    """Call a function in a thread of its own, so that a signal can end the job meanwhile.

    Args:
        function: what to do.
        activity: what it does, for the line in the log that appears every minute.
    """
    future: Future[R] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    _start(work)
    while not _finished(future, _MINUTE):
        print(f"still {activity}", flush=True)
    return future.result()


def _finished(future: Future[Any], seconds: float) -> bool:
    """Wait for a call to finish; whether it did within so many seconds.

    It looks at short intervals: a signal that arrives just before Python begins to wait is handled
    only once it has waited.
    """
    deadline = time.monotonic() + seconds
    while not future.done() and (remaining := deadline - time.monotonic()) > 0:
        wait([future], timeout=min(_POLL, remaining))
    return future.done()


def _start(work: Callable[[], None]) -> None:
    try:
        threading.Thread(target=work, daemon=True).start()
    except RuntimeError as error:
        raise MemoryError("there is no room for another thread") from error
