"""Runs of Snakemake in a folder, and the locks of those that were killed.

Snakemake locks what it works on, and does not say in its lock whose it is: after SIGKILL, a closed
terminal or a power cut the lock stays, and the same command is refused. So each run leaves a record
of itself while it lasts. A lock is removed only if all who may own it are known to be dead: records
of another machine, or of another container, say nothing about what runs there.
"""

import atexit
import json
import os
import sys
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from advrob.job import machine

# Where Linux says what runs. Elsewhere nothing is known of a process, and no lock is removed.
_PROC = Path("/proc")


@dataclass(frozen=True)
class Run:
    """A run of Snakemake, or what its record says.

    Attributes:
        node: the machine's name.
        identity: the identifier that its system was given when it was installed; empty if none.
        boot: of the machine since it was last started, an identifier.
        space: of the container that numbers its processes, an identifier.
        process: its number.
        started: when the process was, in the kernel's clock, for numbers are used again.
        local: whether its jobs run on the same machine, where a second one waits for the first;
            False as long as it is not known.
    """

    node: str
    identity: str
    boot: str
    space: str
    process: int
    started: str
    local: bool = False

    def is_dead(self, here: "Run") -> bool | None:
        """Whether it has ended; None if nobody can say.

        Args:
            here: the run that asks.
        """
        if (self.node, self.identity) != (here.node, here.identity):
            return None
        if self.boot != here.boot:
            return True if self.identity else None
        if self.space != here.space:
            return None
        return _started(self.process) != self.started


def current(*, local: bool = False) -> Run | None:
    """This process; None where the system does not tell enough of it."""
    identity = Path("/etc/machine-id")
    try:
        return Run(
            node=machine.node(),
            identity=identity.read_text().strip() if identity.exists() else "",
            boot=(_PROC / "sys/kernel/random/boot_id").read_text().strip(),
            space=str((_PROC / "self/ns/pid").readlink()),
            process=os.getpid(),
            started=_started(os.getpid()) or "",
            local=local,
        )
    except OSError:
        return None


def _started(process: int) -> str | None:
    """When a process was started, in the kernel's clock; None if there is none, or a dead one."""
    try:
        # Behind the name, which is in brackets and may hold spaces and brackets of its own.
        fields = (_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "XZ" else fields[19]


def begin(folder: str | Path = ".snakemake") -> None:
    """Note this run; remove the lock of one that was killed, and what that has left half.

    Snakemake would refuse both, the second until it is told ``--rerun-incomplete``.

    Args:
        folder: Snakemake's, in the working folder.
    """
    # A lock that comes later is not that of a run which is known to be dead now.
    locks = sorted(Path(folder, "locks").glob("*.lock"))
    here = current()
    if here is None or not _note(here, folder):
        return
    others = {path: run for path, run in _records(folder) if run.process != here.process}
    for run in others.values():
        dead = run.is_dead(here)
        if dead is False:
            return
        if dead is None or not run.local:
            if locks:
                _report(_why_locked(run, dead))
            return
    # One of several runs that see this gets to remove what is there.
    if [path for path in others if _remove(path)]:
        for lock in locks:
            lock.unlink(missing_ok=True)
        for marker, output in list(_incomplete(Path(folder, "incomplete"))):
            output.unlink(missing_ok=True)
            marker.unlink(missing_ok=True)
        killed = ", ".join(str(run.process) for run in others.values())
        _report(f"Going on after a run that was killed (process {killed}).")


def _incomplete(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Snakemake's marks of outputs that were being made, and these."""
    for marker in folder.rglob("*"):
        if marker.is_file():
            # Long names are in parts, all but the last with a sign.
            parts = [part.removeprefix("@") for part in marker.relative_to(folder).parts]
            with suppress(ValueError):
                yield marker, Path(urlsafe_b64decode("".join(parts)).decode())


def start(*, local: bool, folder: str | Path = ".snakemake") -> None:
    """Note that this run starts jobs now.

    Args:
        local: whether they run on this machine.
        folder: Snakemake's.
    """
    if here := current(local=local):
        _note(here, folder)


def _note(run: Run, folder: str | Path) -> bool:
    """Write the record of a run, until this process ends by itself; whether that was possible."""
    path = Path(folder, "runs", f"{run.node}-{run.process}.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(run)), encoding="utf-8")
    except OSError:
        return False
    atexit.register(_remove_record, path.absolute(), os.getpid())
    return True


def _remove_record(path: Path, process: int) -> None:
    # A process that this one forked ends, too.
    if os.getpid() == process:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _records(folder: str | Path) -> Sequence[tuple[Path, Run]]:
    records = []
    for path in sorted(Path(folder, "runs").glob("*.json")):
        # One that cannot be read was being written when its run was killed, before it locked.
        with suppress(OSError, ValueError, TypeError):
            records.append((path, Run(**json.loads(path.read_text(encoding="utf-8")))))
    return records


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _why_locked(run: Run, dead: bool | None) -> str:
    whose = f"This folder may be locked by process {run.process} on {run.node}"
    if dead:
        return (
            f"{whose}, which was killed. If its jobs run on a cluster, cancel them; then type the "
            "same command with --unlock behind it, and once more without."
        )
    return (
        f"{whose}. If that has ended, type the same command with --unlock behind it, and once more "
        "without."
    )


def _report(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
