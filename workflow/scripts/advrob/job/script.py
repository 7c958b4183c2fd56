"""What every job needs: its arguments, its log, its checkpoint, its limits and its progress."""

import contextlib
import inspect
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from advrob.errors import UserError, of_code
from advrob.job import disk, limits, log, machine, record
from advrob.job.locks import checkpoint
from advrob.job.signals import StoppedError, stopping
from advrob.plug_ins import is_in_own_code

# Keywords that a script passes on, of several types.
Options = dict[str, Any]


def run(main: Callable[..., str | None]) -> None:
    """Call a script's ``main`` with the rule's named inputs, outputs, parameters and wildcards.

    Names in the rule are names of ``main``'s keywords; what ``main`` does not name (the code's
    version, say) is left out. A ``main`` that names ``job`` is given the rule's seed, device and
    batch size as one, of the type that it is annotated with. A ``main`` that names ``checkpoint``
    is given one that belongs to all of the rule's parameters and inputs, and one that names
    ``memory`` the bytes that it may use.
    Everything printed goes to the rule's log, between the machine and the number of threads in the
    first line and, at the end, a record for programs (`advrob.job.record`) and the sentence that
    ``main`` returns; `progress` is on a terminal, too. What is not the code's mistake ends the job
    with a sentence alone: a `UserError`, too little memory, a full disk, a signal to end.

    Snakemake has told PyTorch and NumPy the number of threads before they are imported.
    """
    snakemake = sys.modules["__main__"].snakemake
    path = snakemake.log[0] if snakemake.log else None
    killed = path is not None and log.is_unfinished(path)
    memory = limits.memory(snakemake.resources)
    started = time.monotonic()
    try:
        with log.logging(path, snakemake.rule):
            print(f"on {_hardware()}, threads: {snakemake.threads}", flush=True)
            if killed:
                log.say(f"note: {limits.was_killed(snakemake.rule, memory)}")
            succeeded, message = _result(main, snakemake, memory)
            seconds = time.monotonic() - started
            job_record = record.finish(
                threads=snakemake.threads, succeeded=succeeded, seconds=seconds
            )
            # Its output is whole, or said is why not: a full disk changes neither any more.
            with contextlib.suppress(UserError):
                print(record.line(job_record), flush=True)
                if succeeded:
                    print(f"{message} ({_cost(job_record)})", flush=True)
            if not succeeded:
                log.say(f"error: {message}")
    except UserError as error:  # of the log itself
        succeeded = False
        log.say(f"error: {error}")
    if not succeeded:
        sys.exit(1)


def _result(main: Callable[..., str | None], snakemake: Any, memory: int) -> tuple[bool, str]:
    """Whether ``main`` succeeded, and what it or its error says."""
    rule = snakemake.rule
    try:
        with stopping():
            return True, _call(main, snakemake, memory) or "done"
    except UserError as error:
        return False, str(error)
    except StoppedError as stopped:
        return False, (
            f"rule {rule} was stopped ({stopped}). Run the same command again; what has a "
            "checkpoint resumes from it."
        )
    except Exception as error:
        if limits.is_out_of_memory(error):
            batch_size = snakemake.params.get("batch_size")
            return False, limits.out_of_memory(error, rule, memory, batch_size)
        if reason := disk.NO_SPACE.get(disk.code(error) or 0):
            return False, (
                f"rule {rule}: {reason} ({error}). Free some space, or choose another folder with "
                "--directory or TMPDIR, and run the same command again."
            )
        if is_in_own_code(error, script=main.__code__.co_filename):
            return False, (
                f"rule {rule}: fails in a plug-in or your own code ({of_code(error)}). "
                "Correct it there."
            )
        return False, f"rule {rule} failed:\n{traceback.format_exc()}"


def _call(main: Callable[..., str | None], snakemake: Any, memory: int) -> str | None:
    available: dict[str, Any] = {"memory": memory}
    # Resources that are text say where something is, and are no reason to make anything anew.
    available.update(
        {name: value for name, value in snakemake.resources.items() if isinstance(value, str)}
    )
    for part in (snakemake.wildcards, snakemake.params, snakemake.input, snakemake.output):
        available.update(dict(part.items()))
    parameters = inspect.signature(main, eval_str=True).parameters
    keywords = {name: available[name] for name in parameters if name in available}
    if "job" in parameters:
        keywords["job"] = parameters["job"].annotation.of(
            seed=available["seed"],
            device_name=available.get("device", "cpu"),
            batch_size=available.get("batch_size", 1),
        )
    if "checkpoint" not in parameters:
        return main(**keywords)
    with checkpoint(snakemake.output[0], dict(snakemake.params.items()), *snakemake.input) as file:
        record.note(resumed=file.exists())
        return main(**keywords, checkpoint=file)


def _hardware() -> str:
    """The machine, and the GPUs that the job may use."""
    gpus = machine.gpus()
    allowed = "" if gpus is None else f", GPU {gpus or 'none'}"
    return f"{machine.node()} ({machine.machine()}){allowed}"


def _cost(job_record: record.Record) -> str:
    """What a job took, in words."""
    gpu_memory = job_record.gpu_memory
    gpu = "" if gpu_memory is None else f", {gpu_memory / 1e9:.1f} GB of the GPU's memory"
    return f"{job_record.seconds:.1f} s{gpu}"
