import csv
import importlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from docutils.core import publish_string
from jinja2 import StrictUndefined, Template
from PIL import Image

from advrob.errors import UserError
from advrob.figures import panels, plotting
from advrob.figures.panels import DPI, Picture
from advrob.files import store
from advrob.findings import metrics
from advrob.findings.tables import Result
from advrob.job.compute import Job
from advrob.plan.plan import NetworkDescription
from conftest import write_scores

ROOT = Path(__file__).parents[2]
N, SIDE = 6, 48
IDS = [f"foolbox/photograph_{i // 2}.jpg#{i % 2}" for i in range(N)]
LABELS = np.array([0, 0, 1, 1, 2, 2])
ATTACKED = "universal-efficientnet_lite0-none"
MODEL = "efficientnet_lite0"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets and an undefended model's scores on them: all right, then none."""
    folder = tmp_path_factory.mktemp("results")
    draw = np.random.default_rng(0)
    images = draw.integers(20, 236, (N, SIDE, SIDE, 3)).astype(np.uint8)
    perturbation = draw.integers(-10, 11, (SIDE, SIDE, 3))
    classes = [f"n{index:08} class {index}" for index in range(1000)]
    for dataset, pixels, hits in (
        ("original", images, True),
        (ATTACKED, (images + perturbation).astype(np.uint8), False),
    ):
        arrays: dict[str, Any] = {"images": pixels, "labels": LABELS, "ids": IDS}
        write(folder / f"{dataset}.h5", "images/1", {}, {**arrays, "classes": classes})
        params = {"dataset": dataset, "model": MODEL, "defence": "none"}
        arrays = {
            "predicted": LABELS + (not hits),
            "correct": np.full(N, hits),
            "confidence": np.full(N, 0.5, np.float32),
            "draws": np.full((1, N), hits),
            "ids": IDS,
        }
        draws = {"draws": arrays["correct"][None]}
        write(folder / f"scores-{dataset}.h5", "scores/1", params, {**arrays, **draws})
        swept = {key: np.stack([arrays[key]] * 3) for key in ("predicted", "correct", "confidence")}
        swept["correct"][1, :3] ^= True
        swept["magnitudes"] = np.array([20.0, 10.0, 0.0])
        write(folder / f"sweep-{dataset}.h5", "sweep/1", params, {**swept, "ids": IDS})
    shape: dict[str, Any] = {"norm": "linf", "radius": 10}
    for defence, images, hits in (("pca", 400, 5), ("pca_20", 20, 1)):
        write(folder / f"{defence}.h5", "state/1", {"defence": defence}, {"images": images})
        for dataset in ("original", ATTACKED):
            correct = np.arange(N) < hits
            write_scores(folder / "grown", dataset, MODEL, defence, correct, IDS)
    for dataset, hits in (("original", 5), (ATTACKED, 1)):
        write_scores(folder, dataset, MODEL, "noise", np.arange(N) < hits, IDS)
    arrays = {"perturbation": perturbation.astype(np.float32)}
    write(folder / f"{ATTACKED}-perturbation.h5", "perturbation/1", shape, arrays)
    return folder


def write(path: Path, schema: str, params: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    with store.write(path, schema, seed=0, params=params, source="a test") as file:
        store.put(file, arrays)


def pairs(results: Path) -> dict[str, Any]:
    return {
        "original": str(results / "original.h5"),
        "attacked": str(results / f"{ATTACKED}.h5"),
        "scores_original": str(results / "scores-original.h5"),
        "scores_attacked": str(results / f"scores-{ATTACKED}.h5"),
        "photographs": 2,
    }


def described(defence: str, entry: dict[str, Any]) -> NetworkDescription:
    return {
        "model": MODEL,
        "defence": defence,
        "model_settings": {},
        "defence_settings": entry,
        "members": [defence],
        "learned": {},
    }


def draw(folder: Path, script: str, **keywords: Any) -> tuple[bytes, bytes]:
    """Run a figure's script and return the bytes of its PDF and its PNG."""
    outputs = {kind: str(folder / f"figure.{kind}") for kind in ("pdf", "png")}
    importlib.import_module(script).main(**keywords, **outputs)
    pdf, png = (Path(path).read_bytes() for path in outputs.values())
    assert pdf.startswith(b"%PDF")
    assert b"CreationDate" not in pdf
    assert b"Software" not in png
    return pdf, png


def cases(results: Path, folder: Path) -> list[tuple[str, dict[str, Any]]]:
    tasks = ["coarse", "rotation"]
    job = Job.of(seed=0)
    return [
        ("figure_1", {"entry": {"channels": [8, 8, 4]}, "size": 32}),
        ("figure_2", {"size": 32}),
        (
            "figure_3",
            {"architecture": "tf_efficientnet_lite0", "examples": [tasks], "size": 64},
        ),
        ("figure_4", {"perturbations": [str(results / f"{ATTACKED}-perturbation.h5")]}),
        (
            "figure_7",
            {
                "undefended": described("none", {}),
                "networks": {"downsample": described("downsample", {"ratio": 0.5})},
                "job": job,
                "architecture": "tf_efficientnet_lite0",
                "tasks": tasks,
                "size": 32,
            },
        ),
        ("figure_attack", pairs(results)),
        (
            "figure_panels",
            {
                **pairs(results),
                "scores_defended": [
                    str(results / dataset / MODEL / "noise.h5")
                    for dataset in ("original", ATTACKED)
                ],
                "network": described("noise", {"minimum": -10, "maximum": 10}),
                "job": job,
            },
        ),
        (
            "curves",
            {
                "function": "fit_images",
                "states": [str(results / f"{defence}.h5") for defence in ("pca", "pca_20")],
                "scores": sorted(map(str, (results / "grown").rglob("*.h5"))),
                "csv": str(folder / "figure.csv"),
            },
        ),
        (
            "curves",
            {
                "function": "sweep",
                "sweeps": [str(results / "sweep-original.h5")],
                "scores": [str(results / "scores-original.h5")],
                "csv": str(folder / "figure.csv"),
            },
        ),
    ]


@pytest.mark.parametrize("number", range(9))
def test_every_figure_is_the_same_bytes_each_time(
    number: int, results: Path, tmp_path: Path
) -> None:
    script, keywords = cases(results, tmp_path)[number]
    assert draw(tmp_path, script, **keywords) == draw(tmp_path, script, **keywords)
    assert (tmp_path / "figure.png").stat().st_size < 10**6


def test_a_sweep_writes_what_it_draws(results: Path, tmp_path: Path) -> None:
    script, keywords = cases(results, tmp_path)[-1]
    draw(tmp_path, script, **keywords)
    with (tmp_path / "figure.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    header = ["model", "dataset", "magnitude", "n", "accuracy", "ci_low", "ci_high"]
    assert list(rows[0]) == header
    assert [float(row["magnitude"]) for row in rows] == [0, 10, 20]
    assert [float(row["accuracy"]) for row in rows] == [1, 0.5, 1]
    # Six crops of three photographs.
    low, high = metrics.wilson(1.5, 3)
    assert float(rows[1]["ci_low"]) == pytest.approx(low, abs=1e-6)
    assert float(rows[1]["ci_high"]) == pytest.approx(high, abs=1e-6)


def test_growth_is_by_the_number_of_images(results: Path, tmp_path: Path) -> None:
    script, keywords = cases(results, tmp_path)[-2]
    draw(tmp_path, script, **keywords)
    with (tmp_path / "figure.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert ",".join(rows[0]) == "model,dataset,defence,images,n,accuracy,ci_low,ci_high"
    assert [(row["dataset"], row["defence"], int(row["images"])) for row in rows] == [
        (dataset, *fitted)
        for dataset in ("original", ATTACKED)
        for fitted in (("pca_20", 20), ("pca", 400))
    ]
    assert [float(row["accuracy"]) for row in rows[:2]] == pytest.approx([1 / 6, 5 / 6], abs=1e-6)


def test_pictures_are_shown_pixel_by_pixel(tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    figure = panels.grid([[Picture(image, "a"), Picture(255 - image, "b", 0.7, True)]], "ab", "c")
    plotting.save(figure, pdf=str(tmp_path / "a.pdf"), png=str(tmp_path / "a.png"), dpi=DPI)
    shown = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    for expected in (image, 255 - image):
        windows = np.lib.stride_tricks.sliding_window_view(shown, image.shape)[..., 0, :, :, :]
        assert (windows[:, :, 0, 0] == expected[0, 0]).all(-1).any()
        assert (windows == expected).all((-1, -2, -3)).sum() == 1


def test_choose_takes_fooled_photographs_of_different_classes_first() -> None:
    labels = np.array([0, 0, 1, 1, 2, 3])
    ids = ["a#0", "a#1", "b", "c", "d", "e"]
    fooled = np.array([True, True, True, True, False, False])
    assert panels.choose(fooled, labels, ids, 2).tolist() == [0, 2]
    assert panels.choose(fooled, labels, ids, 3).tolist() == [0, 2, 3]
    assert panels.choose(fooled, labels, ids, 4).tolist() == [0, 2, 3, 4]
    assert panels.choose(fooled, labels, ids, 99).tolist() == [0, 2, 3, 4, 5]
    assert panels.choose(np.zeros(6, bool), labels, ids, 2).tolist() == [0, 2]


def test_headings_have_our_accuracy_and_the_papers() -> None:
    correct = np.array([True, True, False])
    for dataset, defence, expected in (
        ("original", "none", "original\n66.7 % (paper 75.85 %)"),
        (ATTACKED, "noise", "attacked, noise\n66.7 % (paper 62.45 %)"),
        (ATTACKED, "jpeg", "attacked, jpeg\n66.7 %"),
    ):
        assert panels.heading(Result(dataset, "m", defence, ["a", "b", "c"], correct)) == expected


def test_magnify_spans_the_radius() -> None:
    shown = panels.magnify(np.array([[-10, 0, 10], [-20, 5, 20]]), 10)
    assert shown.tolist() == [[0, 128, 255], [0, 191, 255]]


def test_pairs_of_other_images_are_refused(results: Path, tmp_path: Path) -> None:
    other = tmp_path / "scores.h5"
    arrays = {
        "predicted": LABELS,
        "correct": np.ones(N, bool),
        "confidence": np.ones(N, np.float32),
        "draws": np.ones((1, N), bool),
        "ids": IDS[::-1],
    }
    write(other, "scores/1", {"dataset": "original", "model": "m", "defence": "none"}, arrays)
    with pytest.raises(UserError, match="contains other images than"):
        draw(tmp_path, "figure_attack", **{**pairs(results), "scores_original": str(other)})


@pytest.mark.parametrize(
    "caption", sorted((ROOT / "workflow/report").glob("*.rst")), ids=lambda path: path.stem
)
@pytest.mark.parametrize("pattern", [None, "ILSVRC2012_val_*"])
def test_captions_are_restructured_text(caption: Path, pattern: str | None) -> None:
    params = SimpleNamespace(pattern=pattern, note=None, control="standard", base="lite")
    template = Template(caption.read_text(), undefined=StrictUndefined)
    text = template.render(snakemake=SimpleNamespace(params=params))
    assert "None" not in text
    publish_string(text, writer="html", settings_overrides={"halt_level": 2})


def test_a_notebooks_choice_of_a_backend_does_no_harm() -> None:
    """Jupyter sets it for all that is started from one."""
    environment = os.environ | {
        "MPLBACKEND": "module://matplotlib_inline_that_is_not_there.backend"
    }
    code = "from advrob.figures import plotting"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
