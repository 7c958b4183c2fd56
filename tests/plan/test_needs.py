"""What jobs ask for covers what was measured, without asking for a multiple of it."""

import inspect

import pytest
from advrob.training.lessons import LESSONS

from advrob.defences.autoencoder import Autoencoder
from advrob.defences.conv_autoencoder import ConvolutionalAutoencoder
from advrob.linear import principal
from advrob.plan import needs as sizing
from advrob.plug_ins import load
from conftest import ROOT

NUMBERS = 3 * 224**2
AUTOENCODER = {"hidden": 5964, "epochs": 4}

# Measured peaks in MB and times in seconds, on two cores: docs/benchmarks.md.
MEASURED = {
    "components of 9,469 images": ("pca", {"variance": 0.99}, 9469, 5260, 160),
    "components of 2,000 images": ("pca", {"variance": 0.99}, 2000, None, 23),
    "5,964 units, 2,000 images": ("autoencoder", {"hidden": 5964, "epochs": 2}, 2000, 8500, 308),
    "5,964 units, 9,469 images": ("autoencoder", AUTOENCODER, 9469, 18000, None),
    "convolutional, 2,000 images": ("conv_autoencoder", {"epochs": 5}, 2000, None, 381),
}


@pytest.mark.parametrize("case", MEASURED)
def test_fitting_a_defence_has_room(case):
    kind, settings, images, memory, seconds = MEASURED[case]
    need = sizing.fitting(kind, settings, images=images, numbers=NUMBERS, gpu=False)
    if memory:
        assert memory < need.memory < 2.5 * memory
    if seconds:
        assert seconds / 60 < need.minutes < 30 * max(1, seconds / 60)


@pytest.mark.parametrize("images", [100, 2_000, 19_000, 100_000])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("pca", {"variance": 0.99}),
        ("pca", {"components": 300}),
        ("autoencoder", {}),
        ("autoencoder", {"hidden": 16}),
        ("conv_autoencoder", {}),
        ("patch_pca", {}),
    ],
)
def test_no_defence_refuses_what_it_is_given(kind, settings, images):
    """A defence says without how much memory it cannot do: that is asked for, and more."""
    least = load("defence", kind)(**settings).memory((images, 224, 224, 3))
    need = sizing.fitting(kind, settings, images=images, numbers=NUMBERS, gpu=False)
    assert 1.2 * least + 2e9 < 1e6 * need.memory


def test_defaults_and_limits_are_those_of_the_code():
    def default(kind, name):
        return inspect.signature(kind).parameters[name].default

    assert default(Autoencoder, "hidden") == sizing.HIDDEN
    assert {
        "autoencoder": default(Autoencoder, "epochs"),
        "conv_autoencoder": default(ConvolutionalAutoencoder, "epochs"),
    } == sizing.EPOCHS
    for name in ("GRAM_LIMIT", "SPAN", "SURPLUS", "ITERATIONS"):
        assert getattr(principal, name) == getattr(sizing, name)


def test_needs_grow_with_what_there_is_to_do():
    def memory(kind, settings, images):
        return sizing.fitting(kind, settings, images=images, numbers=NUMBERS, gpu=True).memory

    assert memory("pca", {}, 20_000) > memory("pca", {}, 10_000) > memory("pca", {}, 1_000)
    # More images than a Gram matrix is made of are searched, in the same memory whatever n.
    assert memory("pca", {}, 100_000) == memory("pca", {}, 1_280_000) < 30_000
    assert memory("autoencoder", {}, 1_000) > memory("autoencoder", {"hidden": 16}, 1_000)
    assert memory("patch_pca", {}, 1_280_000) == memory("patch_pca", {}, 1_000) < 5_000


def test_training_asks_for_what_its_lesson_takes():
    def need(method, **settings):
        common = {"method": method, "epochs": 5, "batch_size": 32}
        return sizing.training(common | settings, images=9_000, gpu=False)

    assert set(sizing.LESSONS) == set(LESSONS)
    assert need("pgd").minutes > need("standard").minutes
    assert need("pgd", iterations=7).minutes > 3 * need("pgd").minutes
    assert need("gan").memory > need("standard").memory
    assert need("standard", images=100).minutes < need("standard").minutes


def test_a_gpu_shortens_what_it_computes():
    settings = {"method": "deepfool", "passes": 10}
    sizes = {"images": 2_000, "held_out": 2_000, "numbers": NUMBERS, "state": 0, "batch_size": 32}
    slow, fast = (sizing.universal(settings, **sizes, gpu=gpu) for gpu in (False, True))
    assert slow.minutes == sizing.LONGEST > fast.minutes > sizing.SHORTEST
    assert slow.memory == fast.memory


def test_a_fitted_defence_is_held_twice():
    sizes = {"images": 2_000, "networks": 1, "batch_size": 32, "gpu": True}
    bare, behind = (sizing.scoring(**sizes, state=state).memory for state in (0, 3_000))
    assert behind - bare >= 6_000
    assert bare <= 6_000


def test_photographs_are_counted_by_the_configuration():
    def minutes(layout, **draw):
        settings = {"layout": layout, "test": draw, "fit": draw}
        one, two = (sizing.photographs(settings, shards).minutes for shards in (1, 2))
        assert two <= one
        return one

    assert minutes("packages") < minutes("tree", total=10_000) < minutes("imagenet")
    assert minutes("imagenet", per_class=2) == minutes("imagenet", total=2_000)


def test_the_documentation_says_what_is_asked_for():
    paper = {"batch_size": 32, "state": 0}
    deepfool = {"method": "deepfool", "passes": 10}
    lesson = {"epochs": 5, "batch_size": 32}
    shafahi = {"method": "stochastic_gradient", "passes": 3}
    stages = {
        "`defence`, pca": lambda n, gpu: sizing.fitting(
            "pca", {"variance": 0.99}, images=n, numbers=NUMBERS, gpu=gpu
        ),
        "`defence`, autoencoder": lambda n, gpu: sizing.fitting(
            "autoencoder", AUTOENCODER, images=n, numbers=NUMBERS, gpu=gpu
        ),
        "`defence`, conv_autoencoder": lambda n, gpu: sizing.fitting(
            "conv_autoencoder", {"epochs": 30}, images=n, numbers=NUMBERS, gpu=gpu
        ),
        "`train`, standard or universal": lambda n, gpu: sizing.training(
            {"method": "standard", **lesson}, images=n, gpu=gpu
        ),
        "`train`, gan": lambda n, gpu: sizing.training(
            {"method": "gan", **lesson}, images=n, gpu=gpu
        ),
        "`universal`, stochastic_gradient": lambda n, gpu: sizing.universal(
            shafahi, images=n, held_out=2_000, numbers=NUMBERS, gpu=gpu, **paper
        ),
        "`universal`, deepfool": lambda n, gpu: sizing.universal(
            deepfool, images=n, held_out=2_000, numbers=NUMBERS, gpu=gpu, **paper
        ),
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
