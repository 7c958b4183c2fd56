"""A job's checkpoint, and the lock that keeps a second job with the same output away from it."""

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from advrob.errors import UserError
from advrob.job.disk import explain_write_errors

# Seconds to wait for another job with the same output: one that was cancelled needs some to end,
# and a network file system some to notice that a job's machine is gone.
PATIENCE = 120.0


@contextlib.contextmanager
def checkpoint(output: str, params: object, *inputs: str) -> Iterator[Path]:
    """A file beside ``output`` for a long job to resume from; removed when the block succeeds.

    Its name depends on the parameters and on the inputs' sizes and times: after a change of either,
    a job starts anew instead of resuming from what no longer fits. Only one job at a time resumes
    with an output.

    Raises:
        UserError: another one still makes this output.
    """
    states = [(path, Path(path).stat().st_size, Path(path).stat().st_mtime_ns) for path in inputs]
    identity = json.dumps([params, states], sort_keys=True).encode()
    target = Path(output)
    name = f".{target.name}.{hashlib.sha256(identity).hexdigest()[:16]}.checkpoint"
    with _exclusive(target):
        yield target.with_name(name)
        remove_checkpoints(target)


def remove_checkpoints(output: str | Path) -> None:
    """Remove all that attempts at ``output``, whole or in shards, have kept to resume from."""
    output = Path(output)
    checkpoints = output.parent.glob(f".{output.name}.*.checkpoint")
    # Where a killed job was writing its checkpoint.
    unfinished = output.parent.glob(f"..{output.name}.*.checkpoint.*.tmp")
    shards = output.with_suffix("").glob(".*.checkpoint*")
    for file in chain(checkpoints, unfinished, shards):
        file.unlink(missing_ok=True)


@contextlib.contextmanager
def _exclusive(output: Path) -> Iterator[None]:
    """Keep out other jobs with this output, which would write into the same checkpoint.

    After Snakemake was killed its jobs may go on while a new Snakemake starts them again. The lock
    ends with the process, however that ends.
    """
    path = output.with_name(f".{output.name}.lock")
    with explain_write_errors(output):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _wait_for_lock(path, output)
    with lock:
        try:
            with explain_write_errors(output):
                lock.truncate(0)
                lock.write(f"process {os.getpid()} on {os.uname().nodename}".encode())
            yield
        finally:
            path.unlink(missing_ok=True)


def _wait_for_lock(path: Path, output: Path) -> IO[bytes]:
    started = time.monotonic()
    while (lock := _lock(path)) is None:
        if time.monotonic() - started >= PATIENCE:
            owner = path.read_text(encoding="utf-8") or "another job"
            raise UserError(
                f"{output}: {owner} is still making this file. Wait until it has ended, or cancel "
                "it (scancel, kill), and run the same command again."
            )
        time.sleep(1)
    return lock


def _lock(path: Path) -> IO[bytes] | None:
    """The file, locked until it is closed; None if another process has it."""
    # No buffer, which a full disk would leave filled when the file is closed.
    file = path.open("ab", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError as error:
        print(f"{path}: no locks here ({error}). See to it that no other job makes this output.")
        return file
    if os.fstat(file.fileno()).st_nlink == 0:
        # Its owner ended, and removed it, since it was opened.
        file.close()
        return None
    return file
