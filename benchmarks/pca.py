"""Compare the principal components with those of scikit-learn, in time, memory and exactness.

    PYTHONPATH=workflow/scripts python benchmarks/pca.py FILE [--images N ...] [--components K]

FILE is ``results/images/fit.h5`` or another file with a dataset ``images``, 8 bits, (n, H, W, 3).
Each contestant runs in a process of its own. Scikit-learn's need the images as float32 in memory,
three times over at their peak: leave out those that do not fit with ``--only``. Several numbers of
images show how time and memory grow.
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

from advrob.defences.pca import PCA
from advrob.files.store import StreamedArray
from advrob.job.compute import generator
from advrob.linear import linalg
from advrob.plan import components as size
from machine import describe


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
    assert isinstance(blocks, StreamedArray)
    components = np.empty(blocks.shape, np.float32)
    row = 0
    for block in blocks.rows:
        components[row : row + len(block)] = block
        row += len(block)
    return components


def ours_search(images: h5py.Dataset, k: int) -> np.ndarray:
    """This project's for more images than a Gram matrix can hold."""
    size.GRAM_LIMIT = 0
    return ours(images, k)


def scikit_learn(**parameters: Any) -> Callable[[h5py.Dataset, int], np.ndarray]:
    """Scikit-learn's with one of its solvers."""

    def fit(images: h5py.Dataset, k: int) -> np.ndarray:
        rows = images[:].reshape(len(images), -1).astype(np.float32) / 255
        return np.asarray(decomposition.PCA(k, random_state=0, **parameters).fit(rows).components_)

    return fit


CONTESTANTS: dict[str, Callable[[h5py.Dataset, int], np.ndarray]] = {
    "ours": ours,
    "ours_search": ours_search,
    "full": scikit_learn(svd_solver="full"),
    "randomized": scikit_learn(svd_solver="randomized"),
}


def measure(name: str, file: Path, n: int, k: int) -> Found:
    """Run one contestant and check what it found on the images themselves."""
    with h5py.File(file) as source:
        images = source["images"][:n]
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


def matrix_rate(multiply: Callable[[], object], operations: float) -> float:
    """Operations a second, in thousand millions, at the best of three times."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        multiply()
        seconds.append(time.perf_counter() - started)
    return operations / min(seconds) / 1e9


def gram_rates(file: Path, n: int) -> tuple[float, float]:
    """What the Gram matrix reaches, reading included, and what the machine does at its best."""
    cpu = torch.device("cpu")
    with h5py.File(file) as source:
        images = source["images"][:n]
    d = images[0].size
    # Half of the products: the other half is their mirror image.
    reached = matrix_rate(lambda: linalg.gram(images, cpu), float(n) ** 2 * d)
    side = 4096
    square = torch.randint(-128, 128, (side, side), dtype=torch.int8)
    if linalg.integer_products(cpu):
        best = matrix_rate(lambda: torch._int_mm(square, square.T), 2.0 * side**3)
    else:
        wide = square.float()
        best = matrix_rate(lambda: wide @ wide.T, 2.0 * side**3)
    return reached, best


def main() -> None:
    """Print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=[2000], help="the first so many")
    parser.add_argument("--components", type=int, default=256)
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    options = parser.parse_args()
    print(describe("torch", "numpy", "scikit-learn"))
    print(f"\n{options.components} components\n")
    print("| solver | images | seconds | peak GiB | mean squared error | not orthonormal by |")
    print("|---|---|---|---|---|---|")
    for n in options.images:
        for name in options.only:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                result = pool.submit(measure, name, options.file, n, options.components).result()
            print(
                f"| {name} | {n} | {result.seconds:.1f} | {result.gibibytes:.1f} "
                f"| {result.error:.7f} | {result.orthonormality:.0e} |",
                flush=True,
            )
    reached, best = gram_rates(options.file, max(options.images))
    print(
        f"\nThe Gram matrix of {max(options.images)} images is made at {reached:.0f} GOP/s, "
        f"{reached / best:.0%} of the {best:.0f} that a product of square matrices reaches."
    )


if __name__ == "__main__":
    main()
