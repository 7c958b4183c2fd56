"""The machine that a job runs on, in words and in bytes."""

import os
import platform
import re
from pathlib import Path


def machine() -> str:
    """The processor of this machine, its cores and its memory, in words."""
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists() and (
        named := re.search(r"model name\s*: (.+)", information.read_text(encoding="utf-8"))
    ):
        processor = named[1]
    return f"{processor}, {os.cpu_count()} cores, {installed_memory() / 1e9:.0f} GB"


def node() -> str:
    """The machine's name, that of Slurm if it is Slurm's."""
    return os.environ.get("SLURMD_NODENAME", platform.node())


def gpus() -> str | None:
    """The numbers of the GPUs that the job may use; None where nobody says."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def installed_memory() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
