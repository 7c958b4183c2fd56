"""What a benchmark ran on, and with what."""

import importlib.metadata
import os
import platform
from pathlib import Path


def describe(*packages: str) -> str:
    """The processor, its usable cores, and the versions of Python and of packages."""
    information = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (information.read_text().splitlines() if information.exists() else [])
        if line.startswith("model name")
    ]
    processor = names[0] if names else platform.machine()
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {importlib.metadata.version(name)}" for name in packages]
    return f"{len(os.sched_getaffinity(0))} cores of {processor}; {', '.join(versions)}"
