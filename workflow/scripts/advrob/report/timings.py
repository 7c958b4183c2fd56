"""Where jobs ran and what they took, from the records in their logs."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from advrob.job import record
from advrob.job.record import Record
from advrob.plan.names import UNDEFENDED, Network

# The rules that certify.
CERTIFYING = ("certify", "certify_model")


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
class Certifying:
    """What the certificates of a network took.

    Attributes:
        dataset: the data set's name.
        network: the network.
        images: how many were certified.
        seconds: per image, all strengths of noise, attacks and the job's start included.
    """

    dataset: str
    network: Network
    images: int
    seconds: float


@dataclass(frozen=True)
class Jobs:
    """What the page says of a run's jobs.

    Attributes:
        timings: by rule, the longest first.
        machines: machine, in words -> how many jobs ran there.
        devices: device and precision -> how many jobs computed so.
        certifying: of each network, by data set, model and defence.
    """

    timings: list[Timing]
    machines: dict[str, int]
    devices: dict[str, int]
    certifying: list[Certifying]


def read(logs: Mapping[str, Sequence[Mapping[str, str]]]) -> Jobs:
    """Read the records of all jobs that made their output.

    Args:
        logs: rule -> where its logs are: ``folder``s, each with a ``regex`` of their whole path.
    """
    records = {
        rule: [each for pattern in patterns for each in _records(pattern)]
        for rule, patterns in logs.items()
    }
    all_records = [each for jobs in records.values() for each, _ in jobs]
    timings = [
        Timing(
            rule,
            len(jobs),
            sum(each.seconds for each, _ in jobs),
            max(each.memory for each, _ in jobs) / 1e6,
        )
        for rule, jobs in records.items()
        if jobs
    ]
    return Jobs(
        timings=sorted(timings, key=lambda timing: -timing.seconds),
        machines=_counted(each.machine for each in all_records),
        devices=_counted(f"{each.device}, {each.precision}" for each in all_records if each.device),
        certifying=sorted(
            (
                _certifying(each, names)
                for rule, jobs in records.items()
                # A workflow that imports this one puts a prefix before the names of rules.
                if rule.endswith(CERTIFYING)
                for each, names in jobs
                # A resumed attempt takes less than the time of all its certificates.
                if each.images and not each.resumed
            ),
            key=lambda each: (each.dataset, each.network),
        ),
    )


def _certifying(job: Record, names: Mapping[str, str]) -> Certifying:
    assert job.images
    network = Network(names["model"], names.get("defence", UNDEFENDED))
    return Certifying(names["dataset"], network, job.images, job.seconds / job.images)


def _records(pattern: Mapping[str, str]) -> Iterator[tuple[Record, dict[str, str]]]:
    """The records of a rule's jobs, with the jobs' wildcards."""
    regex = re.compile(pattern["regex"])
    for file in sorted(Path(pattern["folder"]).rglob("*")):
        match = regex.match(file.as_posix())
        if match and file.is_file():
            job = record.read(file)
            if job and job.succeeded:
                yield job, match.groupdict()


def _counted(names: Iterator[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def duration(seconds: float) -> str:
    """A time for a reader."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
