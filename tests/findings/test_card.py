"""A universal perturbation for others: its card says what it is, and it can be read again."""

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import export_perturbation as script
import universal
from advrob.errors import UserError
from advrob.files import provenance, store
from advrob.findings import metrics
from advrob.images import published
from conftest import ROOT, a_job, block, tiny_network

NAME = "universal-tiny-none"
ENTRY = {
    "method": "stochastic_gradient",
    "norm": "linf",
    "radius": 20.5,
    "fooling_rate": 1,
    "passes": 2,
    "step": 40,
    "images": 6,
}


def write_images(path: Path, photographs: int, seed: int) -> str:
    """Two crops of each of some photographs."""
    random = np.random.default_rng(seed)
    count = 2 * photographs
    arrays = {
        "images": random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8),
        "labels": np.zeros(count, np.int64),
        "ids": np.array([f"{n // 2}.jpg#{n % 2}" for n in range(count)], dtype=object),
        "classes": np.array([str(number) for number in range(1000)], dtype=object),
    }
    store.save(path, "images/1", arrays, seed=3, params={}, source="a test")
    return str(path)


def make(made: dict[str, str], weights: Path, **changes: object) -> str:
    """A perturbation by the script, with some of its entry changed; what it says."""
    return universal.main(
        **made,
        network=tiny_network(weights),
        entry=ENTRY | changes,
        job=a_job(),
        checkpoint=Path(made["perturbation"]).with_suffix(".checkpoint"),
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> dict[str, str]:
    """A perturbation made from three photographs, and measured on four others."""
    folder = tmp_path_factory.mktemp("made")
    images = write_images(folder / "fit.h5", 5, 0)
    held_out = write_images(folder / "test.h5", 4, 1)
    path = str(folder / "perturbation.h5")
    made = {"perturbation": path, "images": images, "held_out": held_out}
    make(made, tiny_weights)
    return made


@pytest.fixture(scope="module")
def folder(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / NAME
    said = script.main(**files, folder=str(folder))
    assert said.startswith(f"{NAME}: fools ")
    return folder


def carded(made: dict[str, str], folder: Path) -> tuple[dict[str, Any], str]:
    """The card of a perturbation, for programs and for readers."""
    script.main(**made, folder=str(folder))
    card = json.loads((folder / "card.json").read_text())
    return card, (folder / "README.md").read_text()


def stored(files: dict[str, str]) -> np.ndarray:
    with store.read(files["perturbation"], "perturbation/1") as file:
        return file["perturbation"][:]


def test_what_the_page_says_to_paste_reads_the_same_numbers(
    folder: Path, files: dict[str, str]
) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "card.json", "perturbation.npy"
    ]  # fmt: skip
    pasted = yaml.safe_load(block((folder / "README.md").read_text(), "To score networks"))
    (label,) = pasted["perturbations"]["published"]
    assert (
        pasted["experiments"]["universal"]
        == f"published-{label}"
        == "published-universal_tiny_none"
    )
    entry = pasted["perturbations"]["published"][label]
    assert entry.pop("file") == f"/path/to/{NAME}/perturbation.npy"
    values = published.read(folder / "perturbation.npy", size=32, key="k", **entry)
    expected = stored(files)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected)
    assert entry == {"norm": "linf", "radius": 20.5, "pixels": "0..255"}
    card = json.loads((folder / "card.json").read_text())
    assert card["published"] == entry | {"file": "perturbation.npy"}


def test_the_card_says_whom_it_fools_how_it_was_made_and_how_often(
    folder: Path, files: dict[str, str]
) -> None:
    card = json.loads((folder / "card.json").read_text())
    values = stored(files)
    assert (card["name"], card["norm"], card["radius"], card["seed"]) == (NAME, "linf", 20.5, 3)
    assert card["network"]["model"] == "tiny"
    assert card["network"]["model_settings"]["weights"].startswith("sha256:")
    assert card["method"] == {
        key: value for key, value in ENTRY.items() if key not in ("norm", "radius")
    } | {"beta": 9.0, "target": None}  # the defaults
    assert card["largest_change"] == np.abs(values).max() <= 20.5
    assert card["l2_length"] == pytest.approx(np.linalg.norm(values))
    assert card["shape"] == [32, 32, 3]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert card["version"] == project["version"]


def test_intervals_of_fooling_rates_count_photographs(
    files: dict[str, str], tmp_path: Path
) -> None:
    """It was made from the first six images, which are crops of three photographs."""
    made = str(tmp_path / "p.h5")
    with store.read(files["perturbation"], "perturbation/1") as file:
        arrays, params = {"perturbation": file["perturbation"][:]}, provenance.params(file)
    rates = {"fooling_rate": 4 / 6, "fooling_rate_held_out": 1 / 8}
    about = {"seed": 3, "params": params, "source": "a test"}
    store.save(made, "perturbation/1", arrays, **about, **rates)
    card, page = carded(files | {"perturbation": made}, tmp_path / "x")
    for part, rate, photographs in zip(("own", "held_out"), rates.values(), (3, 4), strict=True):
        low, high = metrics.wilson(rate * photographs, photographs)
        assert card["fooling_rate"][part] == {
            "rate": pytest.approx(rate),
            "ci_low": pytest.approx(low),
            "ci_high": pytest.approx(high),
            "images": 2 * photographs,
            "photographs": photographs,
        }
    assert "| fooling rate on 6 images that it was made from | 66.7 (21 to 94) |" in page
    assert "| fooling rate on 8 held-out images | 12.5 (1 to 60) |" in page


def test_a_targeted_one_has_a_hit_rate(
    files: dict[str, str], tmp_path: Path, tiny_weights: Path
) -> None:
    made = files | {"perturbation": str(tmp_path / "p.h5")}
    said = make(made, tiny_weights, target=7)
    with store.read(made["perturbation"], "perturbation/1") as file:
        rates = (file.attrs["hit_rate"].item(), file.attrs["hit_rate_held_out"].item())
    assert said.endswith(f" of others; {rates[1]:.1%} hit the target")
    card, page = carded(made, tmp_path / "x")
    assert [part["rate"] for part in card["hit_rate"].values()] == pytest.approx(rates)
    assert "| hit rate on 8 held-out images | " in page
    assert "the hit rate of those that are taken for the target" in page


def test_one_made_without_photographs_owes_nothing_to_them(
    files: dict[str, str], tmp_path: Path, tiny_weights: Path
) -> None:
    """Other images to fit, of which there are as many, change nothing."""
    made = []
    for name, seed in (("a", 0), ("b", 5)):
        images = write_images(tmp_path / f"{name}-fit.h5", 5, seed)
        path = {"perturbation": str(tmp_path / f"{name}.h5"), "images": images}
        make(files | path, tiny_weights, source="noise", method="activations")
        with store.read(path["perturbation"], "perturbation/1") as file:
            made.append(file["perturbation"][:])
    np.testing.assert_array_equal(*made)
    assert np.abs(made[0]).max() > 1
    assert (made[0] != stored(files)).any()


def test_the_page_is_for_readers(folder: Path) -> None:
    page = (folder / "README.md").read_text()
    assert page.startswith(f"# {NAME}\n\nA universal perturbation")
    assert (
        '| model | tiny: `{"architecture": "test_resnet", "kind": "timm", "weights": "sha' in page
    )
    assert "| defence | none |" in page
    assert "| method | stochastic_gradient: `{" in page
    assert "| radius | 20.5/255 |" in page


def test_the_lines_of_its_page_attack_an_image(folder: Path, monkeypatch, files) -> None:
    monkeypatch.chdir(folder)
    names = {"image": np.full((32, 32, 3), 250, np.uint8)}
    exec(block((folder / "README.md").read_text(), "Add it"), names)
    values = stored(files)
    expected = np.clip(250 + values, 0, 255).round()
    assert names["attacked"].dtype == np.uint8
    np.testing.assert_array_equal(names["attacked"], expected)


def test_the_same_perturbation_gives_the_same_bytes(folder, files, tmp_path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "old.npy").touch()
    script.main(**files, folder=str(tmp_path / "other"))
    written = [
        {p.name: p.read_bytes() for p in at.iterdir()} for at in (folder, tmp_path / "other")
    ]
    assert written[0] == written[1]


def test_another_kind_of_file_is_refused(files: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is of schema images/1, expected perturbation/1"):
        script.main(**files | {"perturbation": files["images"]}, folder=str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()
