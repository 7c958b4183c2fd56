"""How time and memory grow with images, iterations, draws and shards, for docs/growth.md.

    PYTHONPATH=workflow/scripts python benchmarks/growth.py FOLDER

FOLDER holds photographs, at any depth. Each point is measured in a process of its own, which reads
images from a file as a job does; a straight line is fitted to the points of a stage. Writes
benchmarks/recorded/growth.json; benchmarks/record.py then writes the page.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image
from torch import nn

from advrob import attacks, defences, models, networks
from advrob.attacks.expectation import Expectation
from advrob.attacks.gradient import targeted
from advrob.attacks.universal.search import search
from advrob.attacks.universal.stochastic_gradient import StochasticGradient
from advrob.evaluation.smoothing import certificates
from advrob.files.rows import first_rows
from advrob.images.pixels import to_tensor
from advrob.job.compute import generator
from advrob.models.prediction import predict
from machine import describe
from record import ROOT, keep, provenance

CPU, BATCH, SIDE, SEED = torch.device("cpu"), 32, 224, 0


def network(defence: str = "none", **options: float) -> nn.Module:
    """EfficientNet-Lite0 behind a defence."""
    built = defences.build(defence, options, generator=generator(SEED), device=CPU)
    return networks.Network(built, models.build("efficientnet_lite0", {}), mixed=True).eval()


def score(images: h5py.Dataset, count: int) -> None:
    """Predictions of so many images."""
    predict([network()], first_rows(images, count), batch_size=BATCH, device=CPU)


def gradient(images: h5py.Dataset, count: int, *, iterations: int | None = None) -> None:
    """The targeted attack: on so many images, or on 16 with so many iterations."""
    number, steps = (16, count) if iterations is None else (count, iterations)
    built = network()
    for start in range(0, number, BATCH):
        batch = to_tensor(images[start : min(start + BATCH, number)], CPU)
        targets = torch.zeros(len(batch), dtype=torch.int64)
        targeted(built, batch, targets, radius=4, iterations=steps)


def draws(images: h5py.Dataset, count: int) -> None:
    """Auto-PGD on 8 images behind noise, with expectation over so many draws."""
    attack = attacks.build(
        "apgd", {"loss": "cross_entropy", "norm": "linf", "radius": 1, "iterations": 5}
    )
    averaged = Expectation(network("noise", minimum=-10, maximum=10), count)
    attack(averaged, to_tensor(images[:8], CPU), torch.zeros(8).long(), generator=generator(SEED))


def universal(images: h5py.Dataset, count: int) -> None:
    """One pass of the stochastic-gradient method over so many images."""
    search(
        *(StochasticGradient(), network(), first_rows(images, count), images[:1]),
        device=CPU,
        generator=generator(SEED),
        norm="linf",
        radius=10,
        passes=1,
        batch_size=20,
    )


def components(images: h5py.Dataset, count: int) -> None:
    """Principal components of so many images."""
    with tempfile.TemporaryDirectory() as folder:
        state = defences.build("pca", {"variance": 0.99}, device=CPU).fit(
            first_rows(images, count),
            device=CPU,
            generator=generator(SEED),
            checkpoint=Path(folder) / "checkpoint",
        )
        len(state["mean"])


def certified(images: h5py.Dataset, count: int) -> None:
    """Certificates of 4 images with so many draws."""
    with tempfile.TemporaryDirectory() as folder:
        certificates(
            *(network(), images[:4]),
            sigmas=[16],
            draws=count,
            batch_size=BATCH,
            device=CPU,
            generator=lambda row, number: generator(SEED, row, number),
            checkpoint=Path(folder) / "checkpoint",
        )


def planned(images: h5py.Dataset, count: int) -> None:
    """The plan of table 1 with so many shards."""
    options = ["--config", f"shards={count}", "--quiet", "rules", "--", "table_1"]
    command = [sys.executable, "-m", "snakemake", "--dry-run", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    jobs = re.search(r"^total +(\d+)$", done.stdout + done.stderr, re.MULTILINE)
    print(f"  {count} shards: {jobs[1] if jobs else '?'} jobs", flush=True)


@dataclass(frozen=True)
class Stage:
    """What is measured.

    Attributes:
        what: is done.
        grows: what its points count.
        points: the counts.
        run: does it for one count.
        target: the count that the line is extended to.
        power: of the count that the time is a straight line of.
    """

    what: str
    grows: str
    points: Sequence[int]
    run: Callable[[h5py.Dataset, int], None]
    target: int
    power: int = 1


STAGES = (
    Stage("score", "images", (64, 128, 256, 512), score, 50_000),
    Stage("gradient attack, 10 iterations", "images", (8, 16, 32, 64),
          partial(gradient, iterations=10), 50_000),
    Stage("gradient attack, 16 images", "iterations", (5, 10, 20, 40), gradient, 100),
    Stage("Auto-PGD behind noise, 8 images", "draws", (1, 2, 4, 8), draws, 20),
    Stage("universal perturbation, one pass", "images", (40, 80, 160, 320), universal, 1_280_000),
    Stage("principal components", "images", (100, 200, 400, 600), components, 10_000, power=2),
    Stage("certificates of 4 images", "draws", (50, 100, 200, 400), certified, 1_000),
    Stage("planning table 1", "shards", (2, 4, 8, 16), planned, 100),
)  # fmt: skip


def write(folder: Path, path: Path, count: int) -> None:
    """Write photographs, 8 bits, as jobs read them; again from the first where there are fewer."""
    names = sorted(name for name in folder.rglob("*") if name.suffix.lower() == ".jpeg")
    with h5py.File(path, "w") as file:
        shape = (count, SIDE, SIDE, 3)
        images = file.create_dataset("images", shape, "uint8", chunks=(1, *shape[1:]))
        for row in range(count):
            photograph = Image.open(names[row * len(names) // count]).convert("RGB")
            images[row] = np.asarray(photograph.resize((SIDE, SIDE)))


def point(run: Callable[[h5py.Dataset, int], None], path: Path, count: int) -> tuple[float, float]:
    """Seconds and peak memory in MiB, in a fresh process."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with h5py.File(path) as file:
        started = time.perf_counter()
        run(file["images"], count)
        seconds = time.perf_counter() - started
    who = resource.RUSAGE_CHILDREN if run is planned else resource.RUSAGE_SELF
    return seconds, resource.getrusage(who).ru_maxrss / 1024


def line(stage: Stage, path: Path) -> list[str]:
    """A row of the table: the points, the straight line, and its value far away."""
    measured = []
    for count in stage.points:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            measured.append(fresh.submit(point, stage.run, path, count).result())
        print(f"{stage.what}, {count} {stage.grows}: {measured[-1][0]:.2f} s", flush=True)
    seconds, memory = (np.array(values) for values in zip(*measured, strict=True))
    counts = np.array(stage.points, float) ** stage.power
    slope, start = np.polyfit(counts, seconds, 1)
    rest = seconds - (start + slope * counts)
    fit = 1 - rest.var() / seconds.var()
    far = (start + slope * float(stage.target) ** stage.power) / 60
    grown = np.polyfit(stage.points, memory, 1)[0]
    per = f"{1000 * slope:.3g} ms" if stage.power == 1 else f"{1e6 * slope:.3g} µs"
    return [
        *(stage.what, stage.grows),
        ", ".join(f"{n}: {s:.2f} s" for n, s in zip(stage.points, seconds, strict=True)),
        f"{start:.2f} s + {per} each{'' if stage.power == 1 else ' squared'} (R² {fit:.3f})",
        f"*{stage.target:,}: {far:.3g} min*",
        f"{memory.min():.0f} to {memory.max():.0f} MiB, {1024 * grown:+.3g} KiB each",
    ]


def main() -> None:
    """Measure every stage and record the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="photographs (.jpeg), at any depth")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.h5"
        write(options.folder, path, max(max(s.points) for s in STAGES if s.grows == "images"))
        lines = [line(stage, path) for stage in STAGES]
    keep(
        "growth",
        "How time and memory grow",
        ["Stage", "Grows with", "Measured", "Line", "Extrapolated", "Peak memory"],
        lines,
        f"EfficientNet-Lite0, 224 x 224, {describe('torch')}. Each point is one process, without "
        "the time to start it. Figures in italics are the line's, far from its points.",
        **provenance(),
    )


if __name__ == "__main__":
    main()
