"""What every job needs: its arguments, its log, its checkpoint, its limits and its progress."""

import contextlib
import inspect
import os
import platform
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from advrob.errors import UserError
from advrob.job.locks import checkpoint
from advrob.job.progress import LOGGED


class StoppedError(BaseException):
    """The job was told to end. No `Exception`, so that nothing but clearing up comes in between."""


def run(main: Callable[..., str | None]) -> None:
    """Call a script's ``main`` with the rule's named inputs, outputs, parameters and wildcards.

    Names in the rule are names of ``main``'s keywords; what ``main`` does not name (the code's
    version, say) is left out. A ``main`` that names ``job`` is given the rule's seed, device and
    batch size as one, of the type that it is annotated with. A ``main`` that names ``checkpoint``
    is given one that belongs to all of the rule's parameters and inputs, and one that names
    ``memory`` the bytes that it may use.
    Everything printed goes to the rule's log, between the machine and the number of threads in the
    first line and the sentence that ``main`` returns in the last; `progress` is on a terminal, too.
    What is not the code's mistake ends the job with a sentence alone: a `UserError`, too little
    memory, a signal to end.

    Snakemake has told PyTorch and NumPy the number of threads before they are imported.
    """
    snakemake = sys.modules["__main__"].snakemake
    memory = _memory(snakemake.resources)
    given: dict[str, Any] = {"memory": memory}
    for part in (snakemake.wildcards, snakemake.params, snakemake.input, snakemake.output):
        given.update(dict(part.items()))
    wanted = inspect.signature(main, eval_str=True).parameters
    keywords = {name: given[name] for name in wanted if name in given}
    started = time.monotonic()
    with _logging(snakemake.log[0] if snakemake.log else None, snakemake.rule), _stopping():
        print(f"on {_place()}, threads: {snakemake.threads}", flush=True)
        try:
            if "job" in wanted:
                keywords["job"] = wanted["job"].annotation.of(
                    seed=given["seed"],
                    device_name=given.get("device", "cpu"),
                    batch_size=given.get("batch_size", 1),
                )
            if "checkpoint" in wanted:
                parameters = dict(snakemake.params.items())
                with checkpoint(snakemake.output[0], parameters, *snakemake.input) as file:
                    found = main(**keywords, checkpoint=file)
            else:
                found = main(**keywords)
        except UserError as error:
            _fail(f"error: {error}")
        except StoppedError:
            _fail(
                f"error: rule {snakemake.rule} was told to end (SIGTERM: cancelled, pre-empted or "
                "out of time). Run the same command again; what has a checkpoint goes on from it."
            )
        except Exception as error:
            if _is_out_of_memory(error):
                _fail(_out_of_memory(error, snakemake.rule, memory, given.get("batch_size")))
            _fail(f"error: rule {snakemake.rule} failed:\n{traceback.format_exc()}")
        spent = f"{time.monotonic() - started:.1f} s{_gpu_memory()}"
        print(f"{found or 'done'} ({spent})", flush=True)


def _place() -> str:
    """The machine, by its name in Slurm if it is Slurm's, and the GPUs that the job may use."""
    node = os.environ.get("SLURMD_NODENAME", platform.node())
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    allowed = "" if gpus is None else f", GPU {gpus or 'none'}"
    return f"{node} ({machine()}){allowed}"


def _gpu_memory() -> str:
    """The most memory of a GPU that the job held at a time, in words, if it used one."""
    # Importing PyTorch takes longer than many a job.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return ""
    return f", {torch.cuda.max_memory_reserved() / 1e9:.1f} GB of the GPU's memory"


def machine() -> str:
    """The processor of this machine, its cores and its memory, in words."""
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists() and (
        named := re.search(r"model name\s*: (.+)", information.read_text(encoding="utf-8"))
    ):
        processor = named[1]
    return f"{processor}, {os.cpu_count()} cores, {installed_memory() / 1e9:.0f} GB"


def installed_memory() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """Let SIGTERM raise an exception, so that temporary files are removed and the log says why."""

    def stop(number: int, frame: FrameType | None) -> None:
        # Whoever ends a job may say so twice: the second time it is clearing up.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise StoppedError

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _memory(resources: Any) -> int:
    """Bytes that the job may use: what its rule asks for, but not more than the machine has."""
    installed = installed_memory()
    asked = resources.get("mem_mb")
    return min(installed, asked * 10**6) if asked else installed


def _is_out_of_memory(error: Exception) -> bool:
    # PyTorch, which is not imported here, raises a RuntimeError on a CPU as on a GPU.
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and any(text in str(error) for text in ("out of memory", "can't allocate memory"))
    )


def _out_of_memory(error: Exception, rule: str, memory: int, batch_size: int | None) -> str:
    smaller = (
        f"Lower batch_size, which is {batch_size}"
        if batch_size
        else "Use fewer images (images.fit), or a smaller defence or batch_size of its entry"
    )
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return (
        f"error: rule {rule} is out of memory ({reason}). It may use {memory // 10**6} MB of the "
        f"machine's. {smaller}, or give it more: --set-resources {rule}:mem_mb="
        f"{2 * memory // 10**6}; on a GPU, only the former helps."
    )


def _fail(message: str) -> None:
    print(message, flush=True)
    if sys.__stderr__ is not None:
        print(message, file=sys.__stderr__, flush=True)
    sys.exit(1)


@contextlib.contextmanager
def _logging(path: str | None, rule: str) -> Iterator[None]:
    if path is None:
        yield
        return
    with (
        # Line by line, so that it also tells of a job that is killed.
        Path(path).open("w", encoding="utf-8", buffering=1) as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        LOGGED.append(f"{rule}, {path}")
        try:
            yield
        finally:
            LOGGED.pop()
