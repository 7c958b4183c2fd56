"""Run jobs, kill them at several moments, let them end, and say what came out as JSON.

Run by test_resuming.py in a process of its own, which imports everything once and forks each job.

    python killing.py FOLDER WEIGHTS
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

import defence
import gradient
import universal
from advrob.attacks.universal import search
from advrob.files import store
from advrob.job import script as job
from advrob.learning import fitting
from conftest import Named, NamedList, tiny_network

# Which of the checkpoint's writes to wait for, how many seconds more, and what to send then. Each
# write takes PAUSE seconds here, so that some of these moments are in the middle of one.
PAUSE = 0.02
MOMENTS = [
    (2, 0.0, signal.SIGKILL),
    (3, 0.03, signal.SIGKILL),
    (2, 0.01, signal.SIGTERM),
    (2, 0.025, signal.SIGKILL),
]


def rules(weights: str) -> dict[str, tuple[Callable[..., str], str, dict]]:
    """Scripts, what they call their output, and parameters, by a name."""
    described = tiny_network(weights, "noise", {"minimum": -10, "maximum": 10})
    network = {"network": described, "batch_size": 2, "device": "cpu", "seed": 1}
    bound = {"norm": "linf", "radius": 10, "passes": 2, "fooling_rate": 1.0}
    fit = {"device": "cpu", "seed": 1}
    return {
        "deepfool": (
            universal.main,
            "perturbation",
            network | {"entry": bound | {"method": "deepfool", "classes": 3, "steps": 2}},
        ),
        "stochastic_gradient": (
            universal.main,
            "perturbation",
            network | {"entry": bound | {"method": "stochastic_gradient", "images": 16}},
        ),
        "gradient": (
            gradient.main,
            "dataset",
            network | {"entry": {"radius": 4, "step": 1, "iterations": 2}},
        ),
        "autoencoder": (
            defence.main,
            "state",
            fit | {"entry": {"hidden": 12, "epochs": 2, "batch_size": 4, "noise": 5}},
        ),
        "conv_autoencoder": (
            defence.main,
            "state",
            fit | {"entry": {"channels": [4], "epochs": 2, "batch_size": 4}},
        ),
    }


def work(name: str, folder: Path, images: str, weights: str, write_end: int | None) -> None:
    """Do a job as Snakemake would; tell of each write of its checkpoint."""
    main, output, params = rules(weights)[name]
    sys.modules["__main__"].snakemake = SimpleNamespace(
        wildcards=Named(model="tiny", defence=name if main is defence.main else "noise"),
        params=Named(params),
        input=NamedList(images=images, held_out=images),
        output=NamedList(**{output: str(folder / "output.h5")}),
        resources=Named(mem_mb=2000),
        log=[str(folder / "log")],
        rule=name,
        threads=1,
    )
    search.CHECKPOINT_SECONDS = fitting.CHECKPOINT_SECONDS = 0
    fsync = os.fsync

    def slow(number: int) -> None:
        fsync(number)
        if write_end is not None:
            os.write(write_end, b".")
            time.sleep(PAUSE)

    os.fsync = slow
    job.run(main)


def attempt(arguments: tuple, moment: tuple | None = None) -> int:
    """Do a job in a process of its own, killed at a moment; its wait status."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        code = 1
        try:
            work(*arguments, write_end if moment else None)
            code = 0
        finally:
            os._exit(code)
    os.close(write_end)
    if moment:
        writes, seconds, number = moment
        for _ in range(writes):
            os.read(read_end, 1)
        time.sleep(seconds)
        os.kill(child, number)
    _, status = os.waitpid(child, 0)
    os.close(read_end)
    return status


def result(name: str, folder: Path, images: str, weights: str) -> dict:
    """What came of a job that was left alone and of one that was killed."""
    for part in ("whole", "cut"):
        (folder / name / part).mkdir(parents=True)
    whole, cut = folder / name / "whole", folder / name / "cut"
    attempt((name, whole, images, weights))
    statuses, logs = [], []
    for moment in MOMENTS:
        statuses.append(attempt((name, cut, images, weights), moment))
        logs.append((cut / "log").read_text())
    left = [path.name for path in cut.iterdir()]
    last = attempt((name, cut, images, weights))
    return {
        "killed": [os.WTERMSIG(status) for status in statuses if os.WIFSIGNALED(status)],
        "ended": [os.WEXITSTATUS(status) for status in statuses if os.WIFEXITED(status)],
        "last": last,
        "left": left,
        "logs": [*logs, (cut / "log").read_text()],
        "equal": last == 0
        and (whole / "output.h5").read_bytes() == (cut / "output.h5").read_bytes(),
        "files": sorted(path.name for path in cut.iterdir()),
    }


def main() -> None:
    folder, weights = Path(sys.argv[1]), sys.argv[2]
    images = str(folder / "images.h5")
    levels = np.random.default_rng(0).integers(0, 256, (20, 24, 24, 3), dtype=np.uint8)
    with store.write(images, "images/1", seed=0, params={}, source="") as file:
        arrays = {
            "images": levels,
            "labels": np.arange(20) % 7,
            "ids": [f"image {i}" for i in range(20)],
            "classes": [f"class {i}" for i in range(1000)],
        }
        store.put(file, arrays)
    torch.set_num_threads(1)
    print(json.dumps({name: result(name, folder, images, weights) for name in rules(weights)}))


if __name__ == "__main__":
    main()
