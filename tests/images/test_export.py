"""Data sets for other programs: what is written is what is stored, and scores the same."""

import csv
import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import export as script
import score
from advrob import networks
from advrob.errors import UserError
from advrob.files import store
from advrob.images import export
from conftest import a_job, tiny_network

N = 11
IDS = [f"val/n01440764/ä picture,{number // 2}.JPEG#{number % 2}" for number in range(N)]


@pytest.fixture
def images(tmp_path: Path) -> str:
    """A file of images; every level of 8 bits is in it."""
    path = tmp_path / "attacked.h5"
    random = np.random.default_rng(0)
    arrays = {
        "images": random.integers(0, 256, (N, 32, 32, 3), dtype=np.uint8),
        "labels": random.integers(0, 1000, N),
        "ids": np.array(IDS, dtype=object),
        "classes": np.array([str(number) for number in range(1000)], dtype=object),
    }
    store.save(path, "images/1", arrays, seed=3, params={}, source="a test")
    return str(path)


@pytest.fixture
def network(tiny_weights: Path):
    return tiny_network(tiny_weights, "noise", {"minimum": -10, "maximum": 10})


@pytest.fixture
def scores(images: str, network, tmp_path: Path) -> str:
    path = str(tmp_path / "scores.h5")
    cell = {"images": [images], "scores": [path], "datasets": ["pgd-tiny-noise"]}
    score.main(**cell, network=network, draws=3, job=a_job())
    return path


@pytest.fixture
def folder(images: str, scores: str, tmp_path: Path) -> Path:
    folder = tmp_path / "export" / "pgd-tiny-noise"
    said = script.main(images=images, scores=scores, dataset="pgd-tiny-noise", folder=str(folder))
    assert said == f"pgd-tiny-noise: 11 images in {folder}"
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "ids.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_pictures_and_tensors_are_the_stored_bytes(folder: Path, images: str) -> None:
    saved = torch.load(folder / "images.pt", weights_only=True)
    tensor, labels = saved["adv_complete"], saved["labels"]
    assert (tensor.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert tensor.shape == (N, 3, 32, 32)
    assert tensor.is_contiguous()
    with store.read(images, "images/1") as file:
        stored, expected = file["images"][:], file["labels"][:]
    assert torch.equal(tensor, torch.from_numpy(stored).permute(0, 3, 1, 2).float() / 255)
    assert labels.tolist() == expected.tolist()
    for row, picture, label in zip(rows(folder), stored, expected, strict=True):
        with Image.open(folder / row["file"]) as image:
            assert image.format == "PNG"
            np.testing.assert_array_equal(np.asarray(image), picture)
        assert int(row["label"]) == label


def test_names_of_files_are_plain_and_in_order(folder: Path) -> None:
    listed = rows(folder)
    assert [row["id"] for row in listed] == IDS
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "ids.csv", "images.pt", "png"
    ]  # fmt: skip
    files = [row["file"] for row in listed]
    assert files == sorted(f"png/{path.name}" for path in (folder / "png").iterdir())
    assert files[3] == f"png/03-val_n01440764_picture_1.JPEG_1-{listed[3]['label']}.png"
    longest = export.file_name(7, 100_000, "x" * 300, 999)
    assert longest == f"00007-{'x' * 100}-999.png"


def test_scores_are_found_again(folder: Path, scores: str, network) -> None:
    """By what the folder's own page says, with the random numbers of the first draw."""
    saved = torch.load(folder / "images.pt", weights_only=True)
    job = a_job()
    built = networks.build(network, generator=job.generator("unused"), device=job.device)
    predicted = []
    with torch.inference_mode():
        for start in range(0, N, job.batch_size):
            identity = ("score", "pgd-tiny-noise", "tiny", "noise", start)
            built.defence.generator = job.generator(*identity)
            batch = saved["adv_complete"][start : start + job.batch_size]
            predicted += built(batch).argmax(1).tolist()
    with store.read(scores, "scores/1") as file:
        assert file["predicted"][:].tolist() == predicted
        correct = file["correct"][:]
    assert [int(row["predicted"]) for row in rows(folder)] == predicted
    assert (torch.tensor(predicted) == saved["labels"]).tolist() == correct.tolist()
    page = (folder / "README.md").read_text()
    assert page.startswith("# pgd-tiny-noise\n\n11 images, 32 x 32,")
    assert f"tiny/noise is right on {correct.sum()} of 11 images" in page


def test_the_lines_of_its_page_score_a_network(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    lines = (folder / "README.md").read_text().split("```")[1].removeprefix("python\n")

    def network(images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.full((len(images),), label), 1000)

    label = int(rows(folder)[0]["label"])
    exec(lines, {"torch": torch, "network": network})
    assert capsys.readouterr().out == f"tensor({1 / N:.4f})\n"


def test_the_same_data_set_gives_the_same_bytes(
    folder: Path, images: str, scores: str, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (other / "png").mkdir(parents=True)
    (other / "png" / "old.png").touch()
    export.export(other, "pgd-tiny-noise", images, scores)
    files = {
        each: {path.relative_to(each): path.read_bytes() for path in each.rglob("*.*")}
        for each in (folder, other)
    }
    assert files[folder] == files[other]


def test_all_of_it_appears_or_nothing(
    images: str, scores: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export.torch, "save", full)
    folder = tmp_path / "export" / "x"
    with pytest.raises(UserError, match=r"the disk is full\. The export of 11 images needs 169 kB"):
        export.export(folder, "pgd-tiny-noise", images, scores)
    assert list(folder.parent.iterdir()) == []


def test_scores_of_something_else_are_refused(images: str, scores: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pgd-tiny-noise"):
        export.export(tmp_path / "x", "original", images, scores)
    assert not (tmp_path / "x").exists()
