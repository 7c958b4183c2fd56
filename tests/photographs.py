"""Small photographs for tests, and drawing from folders of them."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from advrob.files import store
from advrob.images import extract


def noise(seed: int, side: int = 60) -> Image.Image:
    """A picture with something in it at every frequency, and like no other."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side + 10, side), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photograph(seed: int) -> bytes:
    return encoded(noise(seed))


def two_splits(
    root: Path, classes: Sequence[str], picture: Callable[[int], bytes] = photograph
) -> Path:
    """A folder with two splits of classes of two photographs each, all different."""
    for i, split in enumerate(("train", "val")):
        for j, wordnet_id in enumerate(classes):
            folder = root / split / wordnet_id
            folder.mkdir(parents=True)
            for k in range(2):
                (folder / f"{k}.JPEG").write_bytes(picture(4 * i + 2 * j + k))
    return root


def draw(root: Path | None, folder: Path, **changes: Any) -> dict[str, list[str]]:
    """Extract; the ids of both parts, and the summary that `extract` returned."""
    image_options = {
        "size": 16,
        "layout": "tree",
        "broken": "error",
        "test": {"splits": ["val"]},
        "fit": {"splits": ["train"]},
    } | changes
    paths = {part: folder / f"{part}.h5" for part in ("test", "fit")}
    summary = extract(**paths, root=root and str(root), image_options=image_options, seed=1)
    drawn = {"summary": [summary]}
    for part, path in paths.items():
        with store.read(path, "images/1") as file:
            drawn[part] = store.strings(file["ids"])
    return drawn
