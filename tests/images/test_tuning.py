"""Images to choose settings on: labelled, from those to fit, the same each time."""

import numpy as np
import pytest

import tuning
from advrob.errors import UserError
from advrob.files import store


def fit(path, labels):
    n = len(labels)
    images = np.random.default_rng(0).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    with store.write(path, "images/1", seed=0, params={}, source="") as file:
        store.put(
            file,
            {
                "images": images,
                "labels": np.array(labels),
                "ids": np.array([f"{number}" for number in range(n)], dtype=object),
                "classes": np.array(["a", "b"], dtype=object),
            },
        )
    return images


def test_labelled_images_are_drawn(tmp_path):
    images = fit(tmp_path / "fit.h5", [0, -1, 1] * 10)
    for name in ("first.h5", "second.h5"):
        summary = tuning.main(
            images=str(tmp_path / "fit.h5"), dataset=str(tmp_path / name), limit=8, seed=1
        )
    assert summary == "8 of 20 labelled images"
    assert (tmp_path / "first.h5").read_bytes() == (tmp_path / "second.h5").read_bytes()
    with store.read(tmp_path / "first.h5", "images/1") as file:
        rows = [int(name) for name in store.strings(file["ids"])]
        np.testing.assert_array_equal(file["images"][:], images[rows])
        np.testing.assert_array_equal(file["labels"][:], np.array([0, -1, 1] * 10)[rows])
    assert len(set(rows)) == 8
    assert all(row % 3 != 1 for row in rows)


def test_images_without_labels_are_refused(tmp_path):
    fit(tmp_path / "fit.h5", [-1, -1])
    with pytest.raises(UserError, match=r"experiments\.settings: none of the 2 images"):
        tuning.main(images=str(tmp_path / "fit.h5"), dataset=str(tmp_path / "x"), limit=8, seed=1)
