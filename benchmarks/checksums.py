"""Measure what it costs to verify checksums and names of the files that jobs read.

    PYTHONPATH=workflow/scripts python benchmarks/checksums.py [--images N] [--components K]

A data set of random images and a file of as many principal components as given are written twice:
as the workflow does, and without checksums by h5py alone, in chunks of the same shape. They are
read as jobs read them, images in batches and components at once, from the system's cache, where
nothing else takes time. Beside it, what a job computes of the images at least: the predictions of
EfficientNet-Lite0, random weights, behind that many components.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import torch

from advrob.files import store
from advrob.images.pixels import to_tensor
from advrob.models.efficientnet_lite0 import EfficientNetLite, Scale
from machine import describe

SIDE, BATCH = 224, 32
# What the files' names say, which `store.read` compares with their content.
DATASET, DEFENCE = "results/datasets/pgd-lite0-none.h5", "results/defences/shared/pca.h5"


def written(folder: Path, path: str, schema: str, arrays: dict[str, np.ndarray]) -> None:
    """Write a file as the workflow does, and another one in ``plain`` without checksums."""
    params = {"dataset": Path(path).stem, "defence": Path(path).stem}
    (folder / path).parent.mkdir(parents=True)
    (folder / "plain" / path).parent.mkdir(parents=True)
    store.save(folder / path, schema, arrays, seed=0, params=params, source="")
    with h5py.File(folder / path) as file, h5py.File(folder / "plain" / path, "w") as plain:
        for name, array in arrays.items():
            plain.create_dataset(name, data=array, dtype=file[name].dtype, chunks=file[name].chunks)


def checked(path: Path) -> float:
    """Seconds to read all of a file as the workflow does."""
    started = time.perf_counter()
    with store.read(path, None) as file:
        read(file)
    return time.perf_counter() - started


def unchecked(path: Path) -> float:
    """Seconds to read all of a file with h5py alone."""
    started = time.perf_counter()
    with h5py.File(path, "r", rdcc_nbytes=0) as file:
        read(file)
    return time.perf_counter() - started


def read(file: h5py.File) -> None:
    """All datasets, those of images in batches."""
    for name, dataset in file.items():
        step = BATCH if name == "images" else max(len(dataset), 1)
        for start in range(0, len(dataset), step):
            dataset[start : start + step]


def computed(images: np.ndarray, components: np.ndarray) -> float:
    """Seconds of projecting images on components and back, and of predicting them."""
    network, rows = EfficientNetLite(Scale()).eval(), torch.from_numpy(components)
    started = time.perf_counter()
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            batch = to_tensor(images[start : start + BATCH])
            network((batch.flatten(1) @ rows.T @ rows).view(batch.shape))
    return time.perf_counter() - started


def best(times: int, measure: Callable[[], float]) -> float:
    """The least of several measurements: other work only adds to it."""
    return min(measure() for _ in range(times))


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--components", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (options.images, SIDE, SIDE, 3), dtype=np.uint8)
    components = draw.standard_normal((options.components, 3 * SIDE**2), dtype=np.float32)
    names = [str(number) for number in range(len(images))]
    about = {"labels": np.zeros(len(images), np.int64), "ids": np.array(names, dtype=object)}
    about["classes"] = np.array(["one"], dtype=object)
    print(describe("torch", "h5py"))
    print("\n| file | MB | without | with | more | of reading and computing |")
    print("|---|---|---|---|---|---|")
    seconds = best(2, lambda: computed(images, components))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for path, schema, arrays in (
            (DATASET, "images/1", {"images": images} | about),
            (DEFENCE, "state/1", {"components": components}),
        ):
            written(folder, path, schema, arrays)
            without = best(options.repeats, partial(unchecked, folder / "plain" / path))
            with_checks = best(options.repeats, partial(checked, folder / path))
            more = with_checks - without
            print(
                f"| `{path}` | {(folder / path).stat().st_size / 1e6:.0f} | {without:.3f} s "
                f"| {with_checks:.3f} s | {more:.3f} s | {more / (without + seconds):.2%} |"
            )
    print(f"\nComputing takes {seconds:.1f} s.")


if __name__ == "__main__":
    main()
