"""Compare the principal components with those of scikit-learn, in time, memory and exactness.

    PYTHONPATH=workflow/scripts python benchmarks/pca.py FILE [--images N] [--components K]

FILE is ``results/images/fit.h5`` or another file with a dataset ``images``, 8 bits, (n, H, W, 3).
Each contestant runs in a process of its own. Scikit-learn's need the images as float32 in memory,
three times over at their peak: leave out those that do not fit with ``--only``.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from sklearn import decomposition

from advrob.compute import generator
from advrob.defences.pca import PCA
from advrob.store import Blocks


class Found(NamedTuple):
    """What a contestant made of the images."""

    seconds: float
    gibibytes: float
    error: float  # mean squared, on the images themselves
    orthonormality: float  # largest deviation from the identity, first and last components


def ours(images: h5py.Dataset, k: int) -> np.ndarray:
    """This project's."""
    state = PCA(components=k).fit(
        images, device=torch.device("cpu"), generator=generator(0), checkpoint=Path(os.devnull)
    )
    blocks = state["components"]
    assert isinstance(blocks, Blocks)
    components = np.empty(blocks.shape, np.float32)
    row = 0
    for block in blocks.rows:
        components[row : row + len(block)] = block
        row += len(block)
    return components


def scikit_learn(**parameters: Any) -> Callable[[h5py.Dataset, int], np.ndarray]:
    """Scikit-learn's with one of its solvers."""

    def fit(images: h5py.Dataset, k: int) -> np.ndarray:
        rows = images[:].reshape(len(images), -1).astype(np.float32) / 255
        return np.asarray(decomposition.PCA(k, random_state=0, **parameters).fit(rows).components_)

    return fit


CONTESTANTS: dict[str, Callable[[h5py.Dataset, int], np.ndarray]] = {
    "ours": ours,
    "full": scikit_learn(svd_solver="full"),
    "randomized": scikit_learn(svd_solver="randomized"),
}


def measure(name: str, file: Path, n: int | None, k: int) -> Found:
    """Run one contestant and check what it found on the images themselves."""
    with h5py.File(file) as source:
        images = source["images"]
        if n is not None:
            images = images[:n]
        started = time.perf_counter()
        components = CONTESTANTS[name](images, k)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        error = squared_error(images, torch.from_numpy(components))
    ends = np.concatenate([components[:64], components[-64:]]).astype(np.float64)
    orthonormality = np.abs(ends @ ends.T - np.eye(len(ends))).max()
    return Found(seconds, peak, error, float(orthonormality))


def squared_error(images: np.ndarray | h5py.Dataset, components: torch.Tensor) -> float:
    """Mean squared error per pixel and channel of the projected images."""
    n, total, blocks = len(images), 0.0, range(0, len(images), 256)

    def rows(start: int) -> torch.Tensor:
        return torch.from_numpy(images[start : start + 256]).flatten(1).float() / 255

    mean = sum(rows(start).sum(dim=0) for start in blocks) / n
    for start in blocks:
        centred = rows(start) - mean
        total += (centred - centred @ components.T @ components).square().sum().item()
    return total / (n * components.shape[1])


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--images", type=int, default=None, help="the first so many, all if unset")
    parser.add_argument("--components", type=int, default=256)
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    options = parser.parse_args()
    print("| solver | seconds | peak GiB | mean squared error | deviation from orthonormal |")
    print("|---|---|---|---|---|")
    for name in options.only:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found = pool.submit(
                measure, name, options.file, options.images, options.components
            ).result()
        print(
            f"| {name} | {found.seconds:.1f} | {found.gibibytes:.1f} | {found.error:.6f} "
            f"| {found.orthonormality:.0e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
