"""What jobs ask for follows from the configuration and from the sizes of their files."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from configurations import changed, default

from advrob.plan import jobs, needs, pretrained
from advrob.plan.jobs import Jobs
from advrob.plan.kinds import kinds
from advrob.plan.plan import Plan
from examples import required_values

NUMBERS = 3 * 224**2
NETWORK = {"batch_size": 32, "gpu": True}


def sized(folder: Path, name: str, size: float) -> str:
    """A file of so many bytes, of which the disk holds none."""
    file = folder / f"{name}.h5"
    with file.open("wb") as opened:
        opened.truncate(int(size))
    return str(file)


@pytest.fixture
def files(tmp_path):
    """Of a job: 2,000 images to fit or to score, 500 others, and 60 MB of what was learned."""
    return SimpleNamespace(
        images=sized(tmp_path, "images", 2_000 * NUMBERS),
        held_out=sized(tmp_path, "held_out", 500 * NUMBERS),
        learned=[sized(tmp_path, "defence", 40e6), sized(tmp_path, "model", 20e6)],
    )


def wildcards(**changes):
    return SimpleNamespace(**{"model": "efficientnet_lite0", "defence": "none"} | changes)


def test_the_size_of_files(files):
    assert jobs.megabytes(files.learned) == 60
    assert jobs.megabytes(files.learned[0]) == 40
    assert jobs.megabytes([]) == 0
    plan_jobs = Jobs(Plan(default()))
    assert plan_jobs.images_in(files.images) == pytest.approx(2_000)
    assert plan_jobs.images_in(files.images, shards=4) == pytest.approx(500)


def test_stages_ask_for_what_their_work_takes(files):
    plan = Plan(default())
    jobs = Jobs(plan)
    sizes = {"images": 2_000, "state": 60}
    assert jobs.defence(wildcards(defence="pca_50"), files) == needs.fitting(
        kinds("defence")["pca"],
        {"variance": 0.99, "images": 50},
        images=2_000,
        numbers=NUMBERS,
        gpu=True,
    )
    assert jobs.universal(wildcards(), files) == needs.universal(
        kinds("universal")["stochastic_gradient"],
        {"passes": 2, "images": None},
        **sizes,
        held_out=500,
        numbers=NUMBERS,
        **NETWORK,
    )
    assert jobs.train(wildcards(model="gan"), files) == needs.training(
        kinds("lesson")["gan"],
        {"images": 104, "epochs": 1, "batch_size": 32},
        images=2_000,
        gpu=True,
    )
    assert jobs.gan(wildcards(), files) == needs.training(
        kinds("lesson")["gan"], {"images": 208, "epochs": 4, "batch_size": 20}, **sizes, gpu=True
    )
    assert jobs.gradient(wildcards(), files) == needs.gradient(**sizes, iterations=20, **NETWORK)
    assert jobs.score(wildcards(), files) == needs.scoring(**sizes, networks=5, **NETWORK)
    assert jobs.sweep(wildcards(), files) == needs.scoring(
        images=2_000, state=0, networks=9, **NETWORK
    )
    assert jobs.drawing(wildcards(), files) == needs.drawing(60)
    assert jobs.export(wildcards(), files) == needs.exporting(2_000 * NUMBERS / 1e6, images=2_000)
    assert jobs.images(wildcards(), files) == needs.photographs(plan["images"], 1)


@pytest.mark.parametrize(
    ("attack", "passes"),
    # Square has no iterations but queries.
    [("pgd", 20), ("apgd_dlr", 20), ("square", 50), ("plain", 5000), ("auto", 100)],
)
def test_attacks_ask_for_their_passes(files, attack, passes):
    plan = Plan(
        changed(
            "perturbations: {untargeted: {plain: {kind: square, radius: 4},\n"
            "  auto: {kind: apgd, norm: linf, radius: 4}}}"
        )
    )
    # Twenty images in three draws each.
    need = needs.gradient(images=60, iterations=passes, state=60, **NETWORK)
    assert Jobs(plan).attack(wildcards(attack=attack), files) == need


def test_an_attack_on_many_targets_asks_for_all_of_them(files):
    plan = Plan(
        changed("perturbations: {untargeted: {apgd_t: {norm: linf, radius: 4, iterations: 100}}}")
    )
    need = needs.gradient(images=60, iterations=9 * 100, state=60, **NETWORK)
    assert Jobs(plan).attack(wildcards(attack="apgd_t"), files) == need


def test_experiments_ask_for_what_they_measure(files):
    jobs = Jobs(Plan(default()))
    # Seven attacks, each with two controls, on twenty images.
    assert jobs.controls(wildcards(), files) == needs.scoring(
        images=20, networks=14, state=60, **NETWORK
    )
    # Six radii of ten iterations, and 1 + 2 + 5 + 10 more.
    assert jobs.budget(wildcards(), files) == needs.gradient(
        images=60, iterations=6 * 10 + 18, state=60, **NETWORK
    )
    assert jobs.certify(wildcards(), files) == needs.scoring(
        images=5 * 100, networks=1, state=60, **NETWORK
    )
    assert jobs.vector_space(wildcards(), files) == needs.gradient(
        images=100, iterations=500, state=120, **NETWORK
    )


def test_shards_share_the_images(files):
    one, four = (Jobs(Plan(changed({"shards": n, "device": "cpu"}))) for n in (1, 4))
    for stage in ("gradient", "score", "sweep"):
        whole, part = (getattr(jobs, stage)(wildcards(), files) for jobs in (one, four))
        assert part.minutes < whole.minutes
        assert part.memory == whole.memory


def test_without_a_gpu_the_same_takes_longer(files):
    auto, cpu = (Jobs(Plan(changed({"device": device}))) for device in ("auto", "cpu"))
    assert (auto.gpu, cpu.gpu) == (True, False)
    assert auto.gradient(wildcards(), files).minutes < cpu.gradient(wildcards(), files).minutes


def test_every_job_of_every_preset_can_be_asked(files, monkeypatch):
    """A method for each stage, whatever the plug-in."""
    # The weights of a kind that comes with a package.
    monkeypatch.setattr(pretrained, "packaged", lambda *where: Path(files.images))
    monkeypatch.setattr(pretrained, "sha256", lambda file: "0" * 64)
    members = {"chain": {"defences": ["pca"]}}
    plan = Plan(
        changed(
            {
                "defences": {
                    f"a_{name}": {"kind": name, **required_values(kind), **members.get(name, {})}
                    for name, kind in kinds("defence").items()
                }
            }
        )
    )
    jobs = Jobs(plan)
    for name in plan["defences"]:
        if plan.is_fitted(name):
            need = jobs.defence(wildcards(defence=name), files)
            assert need.memory >= 3000
            assert needs.SHORTEST <= need.minutes <= needs.LONGEST


def test_threads_are_a_number_before_the_input_exists():
    def need(wildcards, input):
        return needs.Need(1000, 20, threads=len(Path(input).read_text()))

    threads = Jobs.threads(need)
    assert threads(None, "there/is/none.h5") == needs.THREADS
    assert threads(None, __file__) > needs.THREADS
