"""What a program can read in a job's log."""

import json
import os
import re
from pathlib import Path

import pytest
import torch

from advrob.errors import UserError
from advrob.job import compute, machine, record
from advrob.job import script as job


def test_a_jobs_record_says_where_and_what_it_took(rule, monkeypatch):
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)

    def main():
        assert record.read(rule.log[0]) is None, "it still runs"
        compute.log_start("score", 10, torch.device("cpu"))
        return '{"machine": "no, a sentence"}'

    job.run(main)
    job_record = record.read(rule.log[0])
    assert job_record is not None
    assert job_record.machine == machine.machine()
    assert (job_record.node, job_record.gpus, job_record.threads) == ("node7", "2", 1)
    assert (job_record.device, job_record.precision) == ("cpu (3 threads)", "float32")
    assert (job_record.images, job_record.resumed) == (10, False)
    assert job_record.succeeded
    assert 0 <= job_record.seconds < 10
    resident = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert job_record.memory == pytest.approx(1024 * int(resident[1]), rel=0.05)
    assert job_record.gpu_memory is None
    # What was noted for one job is not another's.
    job.run(lambda: None)
    assert record.read(rule.log[0]).device is None


def test_a_failed_job_has_a_record_too(rule):
    def main():
        raise UserError("a: sentence.")

    with pytest.raises(SystemExit):
        job.run(main)
    job_record = record.read(rule.log[0])
    assert job_record is not None
    assert not job_record.succeeded


def test_memory_of_a_gpu_is_in_bytes(rule, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 3_140_000_000)
    job.run(lambda: None)
    assert record.read(rule.log[0]).gpu_memory == 3_140_000_000


def test_a_record_is_one_line_of_json(rule):
    job.run(lambda: "fine")
    lines = [line for line in Path(rule.log[0]).read_text().splitlines() if line[0] == "{"]
    (content,) = map(json.loads, lines)
    assert {"machine", "device", "precision", "seconds", "gpu_memory"} <= set(content)


def test_half_a_record_is_none(tmp_path):
    whole = record.line(record.finish(threads=1, succeeded=True, seconds=1))
    log = tmp_path / "log"
    log.write_text(f"{whole}\n{whole[: len(whole) // 2]}")
    assert record.read(log) == record.Record(**json.loads(whole))
    log.write_text(whole[: len(whole) // 2])
    assert record.read(log) is None
    log.write_bytes(os.urandom(1000))
    assert record.read(log) is None
