"""Work that is shared out among jobs gives what one job gives, bit for bit."""

import h5py
import numpy as np
import pytest

import gather
import gradient
import images as images_script
import score
import sweep
from advrob.errors import UserError
from advrob.files import sharding, store
from conftest import a_job, tiny_network

# Real photographs, small.
IMAGE_OPTIONS = {
    "size": 32,
    "layout": "packages",
    "broken": "error",
    "test": {
        "packages": [
            {"package": "foolbox", "files": ["data/imagenet_0*.jpg"], "label": r"_(\d+)\.jpg$"}
        ],
    },
    "fit": {"packages": [{"package": "sklearn", "files": ["datasets/images/*.jpg"]}], "crops": 3},
}
JOB = a_job(batch_size=2)
ATTACK = {"radius": 8, "step": 2, "iterations": 3}


@pytest.fixture(scope="module")
def network(tiny_weights):
    """A network behind a defence that draws."""
    return tiny_network(tiny_weights, "noise", {"minimum": -20, "maximum": 20})


def extract(folder, shard=sharding.WHOLE, **changes):
    parts = {part: str(folder / f"{part}-{shard}.h5") for part in ("test", "fit")}
    images_script.main(
        **parts, root=None, image_options=IMAGE_OPTIONS | changes, seed=1, scatteritem=shard
    )
    return parts


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return extract(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize(("n", "batch_size"), [(1, 1), (7, 1), (10, 3), (60, 32), (2000, 32)])
def test_shards_are_all_images_once_cut_between_batches(n, batch_size):
    batches = -(-n // batch_size)
    for shards in {1, 2, 3, batches} - set(range(batches + 1, 4)):
        parts = [sharding.part(f"{i + 1}-of-{shards}", n, batch_size) for i in range(shards)]
        assert [row for part in parts for row in range(n)[part]] == list(range(n))
        assert all(part.start % batch_size == 0 for part in parts)
        sizes = [-(-(part.stop - part.start) // batch_size) for part in parts]
        assert max(sizes) - min(sizes) <= 1


def test_more_shards_than_batches_are_refused():
    with pytest.raises(UserError, match=r"shards: is 3, but 60 images in batches of 32 make only"):
        sharding.part("1-of-3", 60, 32)


def gathered(folder, shards, make):
    """The bytes of what so many jobs make, gathered unless it is one."""
    if shards == 1:
        make(str(folder / "1.h5"), sharding.WHOLE)
        return (folder / "1.h5").read_bytes()
    names = [f"{i + 1}-of-{shards}" for i in range(shards)]
    # Jobs end in any order.
    for name in names[::-1]:
        make(str(folder / f"{name}.h5"), name)
    whole = str(folder / f"{shards}.h5")
    gather.main(shards=[str(folder / f"{name}.h5") for name in names], wholes=[whole])
    return (folder / f"{shards}.h5").read_bytes()


def test_gradient_perturbations_do_not_depend_on_shards(images, network, tmp_path):
    def make(path, shard):
        gradient.main(
            images=images["test"],
            dataset=path,
            network=network,
            entry=ATTACK,
            job=JOB,
            checkpoint=tmp_path / f"{shard}.checkpoint",
            scatteritem=shard,
        )

    whole, *others = (gathered(tmp_path, shards, make) for shards in (1, 2, 3, 5))
    assert all(other == whole for other in others)
    with h5py.File(tmp_path / "1.h5") as file, h5py.File(images["test"]) as original:
        assert len(file["images"]) == 10
        assert (file["images"][:] != original["images"][:]).any(axis=(1, 2, 3)).all()
        assert file.attrs["hit_rate"] == file["reached"][:].mean()


def test_scores_do_not_depend_on_shards(images, network, tmp_path):
    said = []

    def make(path, shard, job=JOB):
        said.append(
            score.main(
                images=[images["test"]],
                scores=[path],
                datasets=["original"],
                network=network,
                draws=3,
                job=job,
                scatteritem=shard,
            )
        )

    # Of 7 shards two have no batch.
    whole, *others = (gathered(tmp_path, shards, make) for shards in (1, 2, 3, 5, 7))
    empty = [sentence for sentence in said[-7:] if "original (no image in shard)" in sentence]
    assert len(empty) == 2
    assert all(other == whole for other in others)
    make(str(tmp_path / "other.h5"), sharding.WHOLE, a_job(seed=4, batch_size=2))
    with h5py.File(tmp_path / "1.h5") as file, h5py.File(tmp_path / "other.h5") as other:
        assert (file["confidence"][:] != other["confidence"][:]).any(), "the noise is drawn"


def test_sweeps_do_not_depend_on_shards(images, network, tmp_path):
    def make(path, shard):
        sweep.main(
            images=images["test"],
            sweep=path,
            dataset="original",
            network=network,
            magnitudes=[0, 10, 40],
            job=JOB,
            scatteritem=shard,
        )

    whole, *others = (gathered(tmp_path, shards, make) for shards in (1, 2, 3))
    assert all(other == whole for other in others)


@pytest.mark.parametrize("shards", [2, 3])
def test_photographs_do_not_depend_on_shards(images, shards, tmp_path):
    # 2 fit photographs do not make 3 shards.
    fit = {"packages": [{"package": "skimage", "files": ["data/[bc]*.png"]}], "crops": 3}
    whole = extract(tmp_path, fit=fit)
    parts = [extract(tmp_path, f"{i + 1}-of-{shards}", fit=fit) for i in range(shards)]
    wholes = [str(tmp_path / "test.h5"), str(tmp_path / "fit.h5")]
    names = [part[name] for name in ("test", "fit") for part in parts]
    gather.main(shards=names, wholes=wholes)
    for path, name in zip(wholes, ("test", "fit"), strict=True):
        with store.read(path, "images/1") as file, store.read(whole[name], "images/1") as expected:
            assert dict(file.attrs) == dict(expected.attrs)
            assert list(file) == list(expected)
            for key in file:
                np.testing.assert_array_equal(file[key][:], expected[key][:])


def test_shards_of_something_else_are_not_gathered(images, network, tmp_path):
    paths = []
    for number, seed in ((1, 3), (2, 4)):
        paths.append(str(tmp_path / f"{number}.h5"))
        score.main(
            images=[images["test"]],
            scores=paths[-1:],
            datasets=["original"],
            network=network,
            draws=3,
            job=a_job(seed=seed, batch_size=2),
            scatteritem=f"{number}-of-2",
        )
    with pytest.raises(UserError, match=r"2\.h5: does not belong with .*differ in seed"):
        gather.main(shards=paths, wholes=[str(tmp_path / "whole.h5")])
    assert not (tmp_path / "whole.h5").exists()
