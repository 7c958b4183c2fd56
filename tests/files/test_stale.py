"""Results that Snakemake has no record of say themselves what they were made with."""

from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from snakemake.utils import update_config

from advrob import networks
from advrob.errors import UserError
from advrob.files import stale, store
from advrob.files.records import save_records
from advrob.plan.names import Network
from advrob.plan.plan import Plan
from conftest import ROOT

LITE = "efficientnet_lite0"
PUBLISHED = {"file": "a.npy", "norm": "linf", "radius": 10}


def plan(**changes: Any) -> Plan:
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    update_config(config, {"perturbations": {"published": {"a": PUBLISHED}}} | changes)
    return Plan(config)


def of(model: str = LITE, defence: str = "none") -> dict[str, Any]:
    """What the file of a network says of it."""
    return networks.params(plan().describe(Network(model, defence)))


def configured(key: str) -> dict[str, Any]:
    return dict(plan()[key])


IMAGES = {key: plan()["images"][key] for key in ("size", "layout", "broken")}
SAMPLE = {"count": 20, "pattern": None}
# What scripts write into their files, by the file.
MADE: dict[str, dict[str, Any]] = {
    "images/fit": IMAGES | {"fit": plan()["images"]["fit"]},
    "datasets/original": IMAGES | {"test": plan()["images"]["test"]},
    "datasets/tuning": {"limit": plan()["experiments.settings.images"]},
    "defences/shared/pca": {"defence": "pca", "variance": 0.99},
    "models/gan": {key: of("gan")[key] for key in ("model", "model_settings")},
    f"perturbations/universal-{LITE}-noise": of(defence="noise")
    | configured("perturbations.universal"),
    f"datasets/tuning-universal-{LITE}-none": of() | configured("perturbations.universal"),
    "datasets/published-a": configured("perturbations.published")["a"],
    f"generators/gan-{LITE}-none": of() | configured("perturbations.gan"),
    f"datasets/gradient-{LITE}-pca": of(defence="pca") | configured("perturbations.gradient"),
    f"datasets/pgd_l2-{LITE}-none": of()
    | {
        "draws": 3,
        "attack": configured("perturbations.untargeted.pgd_l2"),
        "sample": SAMPLE,
    },
    "scores/original/gan/noise": {"draws": 5} | of("gan", "noise") | {"dataset": "original"},
    f"scores/original/{LITE}/none": {"draws": 1} | of() | {"dataset": "original"},
    f"scores/original/{LITE}/sweep-noise": {
        "magnitudes": plan()["experiments.noise_magnitudes"],
        "dataset": "original",
    }
    | {key: of()[key] for key in ("model", "model_settings")},
    f"certified/original/{LITE}": {
        "sample": {"count": 5, "pattern": None},
        "dataset": "original",
    }
    | configured("experiments.smoothing")
    | of(),
    f"budgets/{LITE}/noise": {"sample": SAMPLE, "model": LITE, "defence": "noise"}
    | configured("experiments.robustness"),
    f"controls/{LITE}/noise": {
        "norms": [attack.norm for attack in plan().attacks.values()],
        "sample": SAMPLE,
        "model": LITE,
        "defence": "noise",
    },
    f"analysis/vector_space/{LITE}": {"model": LITE, "model_settings": of()["model_settings"]}
    | configured("experiments.vector_space"),
}


def written(folder: Path, name: str, params: dict[str, Any], seed: int = 2017) -> str:
    path = folder / "results" / f"{name}.h5"
    with store.write(path, "state/1", seed=seed, params=params, source="a test") as file:
        store.put(file, {"a": np.zeros(1)})
    return f"results/{name}.h5"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", MADE)
def test_what_the_plan_would_make_is_known_by_its_path(folder: Path, name: str) -> None:
    path = written(folder, name, MADE[name])
    stale.check(plan(), [path])
    with pytest.raises(
        UserError, match=rf"^{path}: was made with seed 2017, expected seed 3\. Snak"
    ):
        stale.check(plan(seed=3), [path])
    key = next(iter(MADE[name]))
    other = written(folder, name, MADE[name] | {key: "other"})
    with pytest.raises(UserError, match=rf'was made with {key} "other", expected {key} '):
        stale.check(plan(), [other])


@pytest.mark.parametrize(
    "name",
    [
        "images/test/1-of-8",
        "datasets/original-of-mine",
        "datasets/pgd-gone-none",
        "defences/shared/gone",
        "models/gone",
        "models/efficientnet_lite0",
        "scores/original/gone/none",
        "anything",
    ],
)
def test_what_the_plan_does_not_have_is_left_alone(folder: Path, name: str) -> None:
    stale.check(plan(seed=3), [written(folder, name, {"model": "gone"})])


def test_all_that_differ_are_counted_and_some_are_named(folder: Path) -> None:
    paths = [written(folder, name, params, seed=1) for name, params in MADE.items()]
    with pytest.raises(UserError) as error:
        stale.check(plan(), paths)
    named = (
        f"Delete {paths[0]}, {paths[1]}, {paths[2]} and {len(paths) - 3} more, or the whole folder"
    )
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_file_is_the_business_of_the_job_that_reads_it(folder: Path) -> None:
    path = written(folder, "models/gan", MADE["models/gan"], seed=1)
    Path(path).write_bytes(Path(path).read_bytes()[:-1])
    stale.check(plan(), [path])


@pytest.mark.parametrize(
    ("name", "made"),
    [
        (f"checkups/{LITE}/noise", of(defence="noise") | {"sample": SAMPLE}),
        (
            "calibration",
            {"attacks": plan().calibrated, "settings": configured("experiments.calibration")},
        ),
    ],
)
def test_records_say_what_they_were_made_with(folder: Path, name: str, made: Any) -> None:
    path = f"results/{name}.json"
    save_records(path, [], **made, seed=2017)
    stale.check(plan(), [path])
    with pytest.raises(UserError, match=rf"^{path}: was made with seed 2017, expected seed 3\. "):
        stale.check(plan(seed=3), [path])
    last = list(made)[-1]
    save_records(path, [], **made | {last: "other"}, seed=2017)
    with pytest.raises(UserError, match=f'was made with {last} "other", expected '):
        stale.check(plan(), [path])


def test_tables_and_figures_without_a_record_are_older_than_all_else(folder: Path) -> None:
    paths = ["results/tables/table_1.csv", "results/figures/a/b.png", "results/models/gan.h5"]
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    stale.outdate(paths)
    assert [Path(path).stat().st_mtime == 0 for path in paths] == [True, True, False]


def test_what_snakemake_has_a_record_of_is_not_looked_at(folder: Path) -> None:
    deep = "d" * 150 + "/" + "e" * 150
    names = ["models/gan", "models/standard", deep, f"{deep}2"]
    paths = [written(folder, name, {}) for name in names]
    Path("results/models/.gan.h5.lock").touch()
    assert stale.unrecorded() == sorted(paths)
    records = Path(".snakemake/metadata")
    for path in (paths[0], paths[2]):
        name = urlsafe_b64encode(path.encode()).decode()
        parts = [name[i : i + 254] for i in range(0, len(name), 254)]
        record = records.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
        record.parent.mkdir(parents=True, exist_ok=True)
        record.touch()
    assert stale.unrecorded() == sorted([paths[1], paths[3]])
    assert stale.unrecorded("elsewhere") == []
