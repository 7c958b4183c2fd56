"""What jobs ask for covers what was measured, without asking for a multiple of it."""

from dataclasses import replace

import pytest

from advrob.linear import principal
from advrob.plan import components
from advrob.plan import needs as sizing
from advrob.plan.kinds import Kind, kinds, read
from advrob.plan.needs import Need
from advrob.plug_ins import load
from conftest import ROOT

NUMBERS = 3 * 224**2
DEFENCES, LESSONS, METHODS = kinds("defence"), kinds("lesson"), kinds("universal")
AUTOENCODER = {"hidden": 5964, "epochs": 4}

# Measured peaks in MB and times in seconds, on two cores: docs/benchmarks.md.
MEASURED = {
    "components of 9,469 images": ("pca", {"variance": 0.99}, 9469, 5260, 160),
    "components of 2,000 images": ("pca", {"variance": 0.99}, 2000, None, 23),
    "5,964 units, 2,000 images": ("autoencoder", {"hidden": 5964, "epochs": 2}, 2000, 8500, 308),
    "5,964 units, 9,469 images": ("autoencoder", AUTOENCODER, 9469, 18000, None),
    "convolutional, 2,000 images": ("conv_autoencoder", {"epochs": 5}, 2000, None, 381),
}


def fitting(kind: str, entry: dict, images: int, *, gpu: bool = False) -> Need:
    return sizing.fitting(DEFENCES[kind], entry, images=images, numbers=NUMBERS, gpu=gpu)


@pytest.mark.parametrize("case", MEASURED)
def test_fitting_a_defence_has_room(case):
    kind, entry, images, memory, seconds = MEASURED[case]
    need = fitting(kind, entry, images)
    if memory:
        assert memory < need.memory < 2.5 * memory
    if seconds:
        assert seconds / 60 < need.minutes < 30 * max(1, seconds / 60)


@pytest.mark.parametrize("images", [100, 2_000, 19_000, 100_000])
@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        ("pca", {"variance": 0.99}),
        ("pca", {"components": 300}),
        ("autoencoder", {}),
        ("autoencoder", {"hidden": 16}),
        ("conv_autoencoder", {}),
        ("patch_pca", {}),
    ],
)
def test_no_defence_refuses_what_it_is_given(kind, entry, images):
    """A defence says without how much memory it cannot do: that is asked for, and more."""
    least = load("defence", kind)(**entry).memory((images, 224, 224, 3))
    need = fitting(kind, entry, images)
    assert 1.2 * least + 2e9 < 1e6 * need.memory


def test_the_search_for_components_is_as_large_as_planned():
    """The search reads its limits where the plan does."""
    assert principal.size is components


@pytest.mark.parametrize(
    ("images", "count", "numbers"),
    [
        # A Gram matrix, its eigenvectors and a workspace, in double precision and some more.
        (20_000, None, 32 * 20_000**2),
        # Among more images, two matrices in single precision of 10,000 rows.
        (20_001, None, 8 * 10_000 * NUMBERS),
        # Of components and a tenth more.
        (1_280_000, 300, 8 * 330 * NUMBERS),
        # Of no more rows than an image has numbers.
        (1_280_000, 200_000, 8 * NUMBERS**2),
    ],
)
def test_the_memory_of_a_search_for_components(images, count, numbers):
    assert components.principal_memory(images, NUMBERS, count) == numbers


def test_needs_grow_with_what_there_is_to_do():
    def memory(kind, entry, images):
        return fitting(kind, entry, images, gpu=True).memory

    assert memory("pca", {}, 20_000) > memory("pca", {}, 10_000) > memory("pca", {}, 1_000)
    # More images than a Gram matrix is made of are searched, in the same memory whatever n.
    assert memory("pca", {}, 100_000) == memory("pca", {}, 1_280_000) < 30_000
    assert memory("autoencoder", {}, 1_000) > memory("autoencoder", {"hidden": 16}, 1_000)
    assert memory("patch_pca", {}, 1_280_000) == memory("patch_pca", {}, 1_000) < 5_000


def of_defence(**traits: object) -> Kind:
    """A defence that learns, with two keys."""
    keys = {
        "rounds": {"type": "integer", "default": 2},
        "rank": {"type": ["integer", "null"], "default": None},
    }
    return Kind("defence", "new", "defences.new", "New", "", keys, (), traits, frozenset({"fit"}))


def test_a_new_defence_costs_what_it_says():
    def need(entry=None, **traits):
        sizes = {"images": 30_000, "numbers": NUMBERS, "gpu": False}
        return sizing.fitting(of_defence(**traits), entry or {}, **sizes)

    def computing(entry=None, **traits):
        return need(entry, **traits).minutes - sizing.SHORTEST

    # A network in training, of unknown length, where it says nothing.
    assert need() == need(passes=1, gigabytes=4) == need(effort="rounds", entry={"rounds": 30})
    assert computing(effort="rounds", entry={"rounds": 4}) == 2 * computing(effort="rounds")
    assert computing(effort="rounds") == 2 * computing(effort=())
    assert computing(effort=(), passes=4) == 4 * computing(effort=())
    assert computing(passes=0) == 0
    assert need(gigabytes=40).memory > need().memory + 40_000
    # The same components, whatever their key is called; weights of that size, if it trains.
    for rank in (None, 300):
        pca = fitting("pca", {"components": rank}, 30_000)
        assert need({"rank": rank}, principal="rank", passes=0) == pca
        assert need({"rank": rank}, principal="rank", passes=1).minutes > pca.minutes


def test_a_defence_that_derives_from_another_costs_the_same(tmp_path):
    """Whatever its name."""
    (tmp_path / "mine.py").write_text(
        "from advrob.defences.pca import PCA\n\n\nclass Mine(PCA):\n    ...\n"
    )
    mine = read(tmp_path / "mine.py", "defence")
    assert mine is not None
    sizes = {"images": 9_469, "numbers": NUMBERS, "gpu": False}
    assert sizing.fitting(mine, {}, **sizes) == sizing.fitting(DEFENCES["pca"], {}, **sizes)


def test_few_images_to_fit_cost_little():
    few = fitting("pca", {"variance": 0.99, "images": 500}, 1_280_000)
    assert few == fitting("pca", {"variance": 0.99}, 500)


def test_training_asks_for_what_its_lesson_takes():
    def need(method: str, **entry: int) -> Need:
        common = {"epochs": 5, "batch_size": 32}
        return sizing.training(LESSONS[method], common | entry, images=9_000, gpu=False)

    assert need("pgd").minutes > need("standard").minutes
    assert need("pgd", iterations=7).minutes > 3 * need("pgd").minutes
    assert need("gan").memory > need("standard").memory
    assert need("standard", images=100).minutes < need("standard").minutes
    # Twice the passes of an image, by its own word.
    standard, multitask = need("standard").minutes, need("multitask").minutes
    assert multitask - 20 == pytest.approx(2 * (standard - 20), abs=2)


@pytest.mark.parametrize(
    ("name", "passes", "held"),
    [
        ("free", 1, 1),
        ("gan", 4, 2),
        ("multitask", 2, 2),
        ("pgd", 1, 1),
        ("standard", 1, 1),
        ("universal", 1, 1),
    ],
)
def test_lessons_say_what_they_cost(name, passes, held):
    """Forward and backward passes per image, and images in the network per image shown."""
    traits = LESSONS[name].traits
    assert (traits.get("passes", 1), traits.get("held", 1)) == (passes, held)


@pytest.mark.parametrize("name", METHODS)
def test_every_universal_method_can_be_planned(name):
    """Whatever its keys are called."""
    entry = {"passes": 1}
    sizes = {"images": 2_000, "held_out": 2_000, "numbers": NUMBERS, "state": 0, "batch_size": 32}
    assert sizing.universal(METHODS[name], entry, **sizes, gpu=False).minutes > 20


def test_a_method_that_makes_all_of_its_steps_asks_for_their_time():
    """Unlike DeepFool, whose steps are a maximum."""
    keys = {"steps": {"type": "integer", "default": 50}}
    traits = {"effort": "steps"}
    exact = Kind("universal", "new", "new", "New", "", keys, (), traits)
    usual = replace(exact, traits=traits | {"usual_effort": (("steps", 10),)})
    sizes = {"images": 2_000, "held_out": 0, "numbers": NUMBERS, "state": 0, "batch_size": 32}

    def minutes(kind: Kind, **entry: int) -> int:
        return sizing.universal(kind, {"passes": 1} | entry, **sizes, gpu=False).minutes

    assert minutes(exact) > 4 * (minutes(usual) - sizing.SHORTEST) + sizing.SHORTEST
    assert minutes(exact, steps=10) == minutes(usual) == minutes(usual, steps=20)
    assert minutes(usual, steps=2) < minutes(usual)


def test_a_new_method_and_lesson_cost_what_their_keys_of_effort_say():
    def with_effort(sort: str, effort: str, value: int) -> Kind:
        keys = {effort: {"type": "integer", "default": value}}
        return Kind(sort, "new", "new", "New", "", keys, (), {"effort": effort})

    sizes = {"images": 2_000, "held_out": 0, "numbers": NUMBERS, "state": 0, "batch_size": 32}
    few, many = (
        sizing.universal(with_effort("universal", key, value), {"passes": 1}, **sizes, gpu=False)
        for key, value in (("steps", 2), ("rounds", 20))
    )
    assert 20 < few.minutes < many.minutes
    common = {"epochs": 5, "batch_size": 32}
    few, many = (
        sizing.training(with_effort("lesson", "rounds", n), common, images=9_000, gpu=False)
        for n in (2, 20)
    )
    assert few.minutes < many.minutes


def test_a_gpu_shortens_what_it_computes():
    entry = {"passes": 10}
    sizes = {"images": 2_000, "held_out": 2_000, "numbers": NUMBERS, "state": 0, "batch_size": 32}
    slow, fast = (
        sizing.universal(METHODS["deepfool"], entry, **sizes, gpu=gpu) for gpu in (False, True)
    )
    assert slow.minutes == sizing.LONGEST > fast.minutes > sizing.SHORTEST
    assert slow.memory == fast.memory


def test_a_fitted_defence_is_held_twice():
    sizes = {"images": 2_000, "networks": 1, "batch_size": 32, "gpu": True}
    bare, behind = (sizing.scoring(**sizes, state=state).memory for state in (0, 3_000))
    assert behind - bare >= 6_000
    assert bare <= 6_000


def test_photographs_are_counted_by_the_configuration():
    def minutes(layout, **draw):
        image_options = {"layout": layout, "test": draw, "fit": draw}
        one, two = (sizing.photographs(image_options, shards).minutes for shards in (1, 2))
        assert two <= one
        return one

    assert minutes("packages") < minutes("tree", total=10_000) < minutes("imagenet")
    assert minutes("imagenet", per_class=2) == minutes("imagenet", total=2_000)


def test_the_documentation_says_what_is_asked_for():
    paper = {"batch_size": 32, "state": 0}
    lesson = {"epochs": 5, "batch_size": 32}
    stages = {
        "`defence`, pca": lambda n, gpu: fitting("pca", {"variance": 0.99}, n, gpu=gpu),
        "`defence`, autoencoder": lambda n, gpu: fitting("autoencoder", AUTOENCODER, n, gpu=gpu),
        "`defence`, conv_autoencoder": lambda n, gpu: fitting(
            "conv_autoencoder", {"epochs": 30}, n, gpu=gpu
        ),
        "`train`, standard or universal": lambda n, gpu: sizing.training(
            LESSONS["standard"], lesson, images=n, gpu=gpu
        ),
        "`train`, gan": lambda n, gpu: sizing.training(LESSONS["gan"], lesson, images=n, gpu=gpu),
        **{
            f"`universal`, {method}": lambda n, gpu, method=method, passes=passes: sizing.universal(
                METHODS[method],
                {"passes": passes},
                images=n,
                held_out=2_000,
                numbers=NUMBERS,
                gpu=gpu,
                **paper,
            )
            for method, passes in (("stochastic_gradient", 3), ("deepfool", 10))
        },
        "`gradient`": lambda n, gpu: sizing.gradient(images=n, iterations=100, gpu=gpu, **paper),
        "`score`": lambda n, gpu: sizing.scoring(images=n, networks=1, gpu=gpu, **paper),
        "`sweep`": lambda n, gpu: sizing.scoring(images=n, networks=9, gpu=gpu, **paper),
    }
    documented = (ROOT / "docs/cluster.md").read_text()
    for stage, asked in stages.items():
        fits = stage.startswith(("`defence`", "`train`", "`universal`"))
        for images in (10_000, 100_000, 1_280_000) if fits else (2_000, 10_000, 50_000):
            gpu, cpu = asked(images, True), asked(images, False)
            memory = f"{gpu.memory // 1000} GB"
            cells = (stage, f"{images:,}", memory, str(gpu.minutes), str(cpu.minutes))
            assert f"| {' | '.join(cells)} |" in documented


@pytest.mark.parametrize(("images", "threads"), [(20, 1), (100_000, sizing.THREADS)])
def test_short_jobs_have_one_thread(images, threads):
    need = sizing.scoring(images=images, networks=1, state=0, batch_size=32, gpu=False)
    assert need.threads == threads
