"""Data sets for other programs: pictures without loss, and tensors that PyTorch reads.

The tensors are what RobustBench's ``clean_accuracy(model, x, y)`` takes, and they lie in their file
as AutoAttack's example saves attacked images: ``torch.save({"adv_complete": x})``.
"""

import csv
import re
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image

from advrob.files import provenance, store
from advrob.files.atomic import replacing_folder
from advrob.images.pixels import to_tensor
from advrob.job.disk import require_space

COLUMNS = ("file", "id", "label", "predicted")
# Of an id in a file's name, which may have 255 bytes.
LONGEST = 100
README = """# {dataset}

{count} images, {height} x {width}, exported by Deep Adversarial Robustness.

- `png/`: the images, in 8 bits and without loss
- `images.pt`: the same as `adv_complete`, float32 ({count}, 3, {height}, {width}), RGB in [0, 1],
  and `labels`, int64 ({count}), in the order of the files' names
- `ids.csv`: file, id, label, and the class `predicted` by {network}

Labels are indices of {classes} classes. {network} is right on {correct} of {count} images, in the
first draw if it draws random numbers. To score a network that has its normalisation inside:

```python
import torch

saved = torch.load("images.pt", weights_only=True)
with torch.inference_mode():
    predicted = torch.cat([network(x).argmax(1) for x in saved["adv_complete"].split(50)])
print((predicted == saved["labels"]).float().mean())
```

The photographs have terms of their own.
"""


def export(folder: str | Path, dataset: str, images: str, scores: str) -> int:
    """Write a data set into a folder, all of it or nothing.

    Args:
        folder: to make or replace.
        dataset: the data set's name.
        images: its file of N images.
        scores: the score file of a network on it.

    Returns:
        How many images there are.

    Raises:
        UserError: a file is damaged or about something else, or the disk is full.
    """
    with (
        store.read(scores, "scores/1", about={"dataset": dataset}) as scored,
        store.read(images, "images/1") as source,
        replacing_folder(folder) as temporary,
    ):
        ids, labels, pixels = store.strings(source["ids"]), source["labels"][:], source["images"]
        store.check_ids(scores, store.strings(scored["ids"]), images, ids)
        files = [
            f"png/{file_name(number, len(ids), *of)}"
            for number, of in enumerate(zip(ids, labels, strict=True))
        ]
        # A picture takes no more than its pixels, and a tensor four times as much.
        with require_space(temporary, 5 * pixels.size, f"The export of {len(ids):,} images"):
            tensor = _write_pictures(temporary, files, pixels)
            saved = {"adv_complete": tensor, "labels": torch.from_numpy(labels)}
            torch.save(saved, temporary / "images.pt")
        _write_ids(temporary / "ids.csv", files, ids, labels, scored["predicted"][:])
        made = provenance.params(scored)
        text = README.format(
            dataset=dataset,
            count=len(ids),
            height=pixels.shape[1],
            width=pixels.shape[2],
            classes=f"{len(source['classes']):,}",
            network=f"{made['model']}/{made['defence']}",
            correct=scored["correct"][:].sum(),
        )
        (temporary / "README.md").write_text(text, encoding="utf-8")
        return len(ids)


def file_name(number: int, count: int, identity: str, label: int) -> str:
    """The name of an image's PNG: its number, its id where a file's name may have it, its label.

    Args:
        number: among the images, from 0.
        count: how many images there are.
        identity: the image's id.
        label: its class.
    """
    stem = re.sub(r"[^A-Za-z0-9.-]+", "_", identity)[-LONGEST:]
    return f"{number:0{len(str(count - 1))}d}-{stem}-{label}.png"


def _write_pictures(folder: Path, files: list[str], pixels: h5py.Dataset) -> torch.Tensor:
    """Write PNGs of 8-bit images ``(N, H, W, 3)``; the images as float32 ``(N, 3, H, W)``."""
    (folder / "png").mkdir()
    count, height, width, channels = pixels.shape
    tensor = torch.empty(count, channels, height, width)
    for start in range(0, count, store.ROWS):
        block: np.ndarray = pixels[start : start + store.ROWS]
        tensor[start : start + store.ROWS] = to_tensor(block)
        for file, picture in zip(files[start:], block, strict=False):
            Image.fromarray(picture).save(folder / file)
    return tensor


def _write_ids(
    path: Path, files: list[str], ids: list[str], labels: np.ndarray, predicted: np.ndarray
) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(zip(files, ids, labels.tolist(), predicted.tolist(), strict=True))
