"""Where jobs ran and what they took, from the records in their logs."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from advrob.job import record
from advrob.job.record import Record


@dataclass(frozen=True)
class Timing:
    """What the jobs of a rule took.

    Attributes:
        rule: its name.
        jobs: how many have a record.
        seconds: in sum.
        memory: of the largest, in megabytes.
    """

    rule: str
    jobs: int
    seconds: float
    memory: float


@dataclass(frozen=True)
class Jobs:
    """What the page says of a run's jobs.

    Attributes:
        timings: by rule, the longest first.
        machines: machine, in words -> how many jobs ran there.
        devices: device and precision -> how many jobs computed so.
    """

    timings: list[Timing]
    machines: dict[str, int]
    devices: dict[str, int]


def read(logs: Mapping[str, Mapping[str, str]]) -> Jobs:
    """Read the records of all jobs that made their output.

    Args:
        logs: rule -> where its logs are: a ``folder``, and a ``regex`` of their whole path.
    """
    records = {rule: list(_records(pattern)) for rule, pattern in logs.items()}
    all_records = [each for jobs in records.values() for each in jobs]
    timings = [
        Timing(
            rule,
            len(jobs),
            sum(each.seconds for each in jobs),
            max(each.memory for each in jobs) / 1e6,
        )
        for rule, jobs in records.items()
        if jobs
    ]
    return Jobs(
        timings=sorted(timings, key=lambda timing: -timing.seconds),
        machines=_counted(each.machine for each in all_records),
        devices=_counted(f"{each.device}, {each.precision}" for each in all_records if each.device),
    )


def _records(pattern: Mapping[str, str]) -> Iterator[Record]:
    regex = re.compile(pattern["regex"])
    for file in sorted(Path(pattern["folder"]).rglob("*")):
        if regex.match(file.as_posix()) and file.is_file():
            job = record.read(file)
            if job and job.succeeded:
                yield job


def _counted(names: Iterator[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def duration(seconds: float) -> str:
    """A time for a reader."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
