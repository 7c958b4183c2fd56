"""Work on photographs by several threads that nobody has to wait for.

A file on a file system that no longer answers keeps its thread for ever. Those of
`concurrent.futures` would be waited for when the job ends; these are not.
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

# Items that may be begun before the first of them is asked for.
_AHEAD = 64

# Seconds for a photograph to be read and decoded.
PATIENCE = 300.0

# Seconds between lines in the log, and to wait at a time.
_MINUTE, _PIECE = 60.0, 0.5


def in_order(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    threads: int,
    name: Callable[[T], str],
) -> Iterator[Future[R]]:
    """Calls of a function in the items' order, each ended, never many more than are asked for.

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

    def ended() -> Future[R]:
        future, item = pending.popleft()
        if not _ended(future, PATIENCE):
            raise UserError(
                f"{name(item)}: has not been read for {PATIENCE:.0f} s. Expected a file system "
                "that answers. See whether the disk or the server behind it still does, and run "
                "the same command again."
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
                yield ended()
        while pending:
            yield ended()
    finally:
        for future, _ in pending:
            future.cancel()
        for _ in range(threads):
            tasks.put(None)


def alone(function: Callable[[], R], what: str) -> R:
    """Call a function in a thread of its own, so that a signal can end the job meanwhile.

    Args:
        function: what to do.
        what: what it does, for the log: it is said of what takes longer than a minute.
    """
    future: Future[R] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    _start(work)
    while not _ended(future, _MINUTE):
        print(f"still {what}", flush=True)
    return future.result()


def _ended(future: Future[Any], seconds: float) -> bool:
    """Wait for a call to end; whether it has, in so many seconds.

    In short pieces: a signal that arrives just before Python begins to wait is not seen until it
    has waited.
    """
    give_up = time.monotonic() + seconds
    while not future.done() and (left := give_up - time.monotonic()) > 0:
        wait([future], timeout=min(_PIECE, left))
    return future.done()


def _start(work: Callable[[], None]) -> None:
    try:
        threading.Thread(target=work, daemon=True).start()
    except RuntimeError as error:
        raise MemoryError("there is no room for another thread") from error
