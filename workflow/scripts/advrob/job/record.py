"""What a job was and what it took, as a line of JSON in its log, for programs to read."""

import dataclasses
import json
import resource
import sys
from pathlib import Path
from typing import Any

from advrob.job import machine

# What the running job's parts have noted for its record.
_notes: dict[str, Any] = {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One attempt at a job that ended by itself, well or not.

    Attributes:
        machine: its processor, cores and memory, in words.
        node: its name.
        gpus: the numbers of the GPUs that the job may use; None where nobody says.
        threads: of the CPU, that the job may use.
        device: where it computed, in words; None if it did not compute with images.
        precision: ``float32`` or ``bfloat16``, likewise.
        images: how many it computed with, likewise.
        resumed: whether it resumed from an earlier attempt's checkpoint.
        succeeded: whether it made its output.
        seconds: from its start to its end.
        memory: bytes of memory that it held at most.
        gpu_memory: bytes of a GPU's memory that it held at most; None without a GPU.
    """

    machine: str
    node: str
    gpus: str | None
    threads: int
    device: str | None = None
    precision: str | None = None
    images: int | None = None
    resumed: bool = False
    succeeded: bool
    seconds: float
    memory: int
    gpu_memory: int | None = None


def note(**fields: Any) -> None:
    """Add fields to the record of the running job that only its parts know; see `Record`."""
    _notes.update(fields)


def finish(*, threads: int, succeeded: bool, seconds: float) -> Record:
    """The record of the job that ends now; what was noted for it is cleared."""
    notes = dict(_notes)
    _notes.clear()
    return Record(
        machine=machine.machine(),
        node=machine.node(),
        gpus=machine.gpus(),
        threads=threads,
        succeeded=succeeded,
        seconds=round(seconds, 1),
        # Linux counts in units of 1024 bytes, macOS in bytes.
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024),
        gpu_memory=_gpu_memory(),
        **notes,
    )


def _gpu_memory() -> int | None:
    # Importing PyTorch takes longer than many a job.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_reserved())


def line(record: Record) -> str:
    """A record as `read` finds it in a log."""
    return json.dumps(dataclasses.asdict(record), ensure_ascii=False)


def read(log: str | Path) -> Record | None:
    """The record in a job's log.

    Returns:
        None if the log has none: the job still runs, or it was killed.
    """
    text = Path(log).read_text(encoding="utf-8", errors="replace")
    for candidate in reversed(text.splitlines()):
        if candidate.startswith('{"machine": '):
            try:
                return Record(**json.loads(candidate))
            except (ValueError, TypeError):  # half a line, or another version's
                continue
    return None
