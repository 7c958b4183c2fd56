"""What every job needs: its arguments, its log, its checkpoint and its progress."""

import contextlib
import hashlib
import inspect
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from advrob.errors import UserError

T = TypeVar("T")


def run(main: Callable[..., str | None]) -> None:
    """Call a script's ``main`` with the rule's named inputs, outputs, parameters and wildcards.

    Names in the rule are names of ``main``'s keywords; what ``main`` does not name (the code's
    version, say) is left out. A ``main`` that names ``checkpoint`` is given one that belongs to all
    of the rule's parameters and inputs. Everything printed goes to the rule's log, between the
    machine and the number of threads in the first line and the sentence that ``main`` returns in
    the last. A `UserError` ends the job with its message alone. Snakemake has told
    PyTorch and NumPy the number of threads before they are imported.
    """
    snakemake = sys.modules["__main__"].snakemake
    given: dict[str, Any] = {}
    for part in (snakemake.wildcards, snakemake.params, snakemake.input, snakemake.output):
        given.update(dict(part.items()))
    keywords = {name: given[name] for name in inspect.signature(main).parameters if name in given}
    started = time.monotonic()
    with _logging(snakemake.log[0] if snakemake.log else None):
        print(f"on {_place()}, threads: {snakemake.threads}", flush=True)
        try:
            if "checkpoint" in inspect.signature(main).parameters:
                parameters = dict(snakemake.params.items())
                with checkpoint(snakemake.output[0], parameters, *snakemake.input) as file:
                    found = main(**keywords, checkpoint=file)
            else:
                found = main(**keywords)
        except UserError as error:
            _fail(f"error: {error}")
        except Exception:
            _fail(f"error: rule {snakemake.rule} failed:\n{traceback.format_exc()}")
        print(f"{found or 'done'} ({time.monotonic() - started:.1f} s)", flush=True)


def _place() -> str:
    """The machine, by its name in Slurm if it is Slurm's, and the GPUs that the job may use."""
    node = os.environ.get("SLURMD_NODENAME", platform.node())
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    return node if gpus is None else f"{node}, GPU {gpus or 'none'}"


def _fail(message: str) -> None:
    print(message, flush=True)
    if sys.__stderr__ is not None:
        print(message, file=sys.__stderr__, flush=True)
    sys.exit(1)


@contextlib.contextmanager
def _logging(path: str | None) -> Iterator[None]:
    if path is None:
        yield
        return
    with (
        Path(path).open("w", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        yield


@contextlib.contextmanager
def checkpoint(output: str, params: object, *inputs: str) -> Iterator[Path]:
    """A file beside ``output`` for a long job to go on from; removed when the block succeeds.

    Its name depends on the parameters and on the inputs' sizes and times: after a change of either,
    a job starts anew instead of going on from what no longer fits.
    """
    states = [(path, Path(path).stat().st_size, Path(path).stat().st_mtime_ns) for path in inputs]
    identity = json.dumps([params, states], sort_keys=True).encode()
    target = Path(output)
    target.parent.mkdir(parents=True, exist_ok=True)
    yield target.with_name(f".{target.name}.{hashlib.sha256(identity).hexdigest()[:16]}.checkpoint")
    for file in target.parent.glob(f".{target.name}.*.checkpoint"):
        file.unlink()


def progress(items: Iterable[T], what: str, total: int, every: float = 10.0) -> Iterator[T]:
    """Yield ``items``, printing a line with rate and remaining time every so many seconds.

    Plain lines without control characters: they are read in log files.
    """
    started = shown = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - shown >= every:
            shown = now
            rate = done / (now - started)
            left = (total - done) / rate
            print(f"{what}: {done}/{total}, {rate:.3g}/s, {left:.0f} s left", flush=True)
