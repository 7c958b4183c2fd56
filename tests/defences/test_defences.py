"""The contract that every defence keeps, and what each of the simple ones does."""

from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from advrob import defences, plug_ins
from advrob.errors import UserError
from advrob.files import store
from advrob.job.compute import generator
from advrob.plan import kinds
from advrob.plug_ins import load
from denoisers import ffdnet_weights
from examples import required_values

# The parameters that the contract is checked with, where they are not those that
# `examples.required_values` finds and the defaults.
PARAMETERS = {
    "noise": {"minimum": -10, "maximum": 10},
    "downsample": {"ratio": 0.5},
    "pca": {"variance": 0.9},
    "autoencoder": {"hidden": 12, "epochs": 1},
    "conv_autoencoder": {"epochs": 30},
    "jpeg": {"quality": 75},
    "median": {"size": 3},
    "resize_pad": {"ratio": 0.8},
    "patch_pca": {"patch": 4, "variance": 0.9},
    "ffdnet": {"sigma": 8},
    "dncnn": {"features": 8, "blocks": 1},
    "chain": {
        "defences": [
            defences.build("downsample", {"ratio": 0.5}),
            defences.build("noise", {"minimum": -10, "maximum": 10}),
        ]
    },
}
KINDS = kinds.kinds("defence")
SIZE = 16


def photographs(count, size=SIZE):
    """Crops of a real photograph."""
    from sklearn.datasets import load_sample_image

    picture = load_sample_image("flower.jpg")
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 400 - size, size=(count, 2))
    return np.stack([picture[i : i + size, j : j + size] for i, j in corners])


def make(kind, tmp_path: Path, size=SIZE, **changes):
    parameters = required_values(KINDS[kind]) | PARAMETERS.get(kind, {}) | changes
    if kind == "ffdnet":
        parameters["weights"] = ffdnet_weights(tmp_path / "weights.pth")
    if not KINDS[kind].fitted:
        return defences.build(kind, parameters, generator=generator(0, kind))
    path = tmp_path / f"{kind}.h5"
    fitted = load("defence", kind)(**parameters)
    arrays = fitted.fit(
        photographs(40, size),
        device=torch.device("cpu"),
        generator=generator(0, kind),
        checkpoint=tmp_path / "checkpoint",
    )
    with store.write(path, "state/1", seed=0, params=parameters, source="") as file:
        store.put(file, arrays)
    with store.read(path, "state/1") as file:
        return defences.build(kind, parameters, state=file, generator=generator(0, kind))


@pytest.fixture(params=KINDS)
def defence(request, tmp_path):
    return make(request.param, tmp_path)


@pytest.fixture
def images():
    return torch.from_numpy(photographs(4)).permute(0, 3, 1, 2).float() / 255


def test_images_stay_images(defence, images):
    before = images.clone()
    after = defence(images)
    assert after.shape == images.shape
    assert after.dtype == images.dtype
    assert torch.isfinite(after).all()
    torch.testing.assert_close(images, before, rtol=0, atol=0)
    assert (after - images).abs().mean() < 0.2, "what a defence gives back resembles the image"


def is_straight_through(result):
    """Whether the backward pass leaves a step out, with `defences.straight_through`."""
    nodes = {result.grad_fn}
    reached = set()
    while nodes:
        reached |= nodes
        nodes = {node for each in nodes for node, _ in each.next_functions if node} - reached
    return any(node.name() == "_StraightThroughBackward" for node in reached)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind, tmp_path, images):
    """In double precision along random directions; a stochastic defence draws the same twice."""
    defence = make(kind, tmp_path).double()
    # Away from 0 and 1, where clipping has a corner, and from equal neighbours, where medians do.
    x = 0.3 + 0.4 * images.double()
    x += 1e-2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).double()
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).double()

    def value(at):
        defence.generator = generator(0, "difference")
        return (defence(at) * weight).sum()

    result = value(x)
    (gradient,) = torch.autograd.grad(result, x, retain_graph=True)
    assert gradient.abs().max() > 0
    if is_straight_through(result):
        pytest.skip("its gradient is not that of its forward pass, and is not meant to be")
    with torch.no_grad():
        numeric = (value(x + 1e-8 * direction) - value(x - 1e-8 * direction)) / 2e-8
    assert (gradient * direction).sum().item() == pytest.approx(numeric.item(), rel=2e-3, abs=1e-5)


def test_randomness_is_fresh_in_each_pass_and_only_the_generators(defence, images):
    global_state = torch.random.get_rng_state()
    defence.generator = generator(0, "a")
    first, second = defence(images), defence(images)
    assert torch.equal(first, second) != defence.stochastic
    defence.generator = generator(0, "a")
    torch.testing.assert_close(defence(images), first, rtol=0, atol=0)
    assert torch.equal(torch.random.get_rng_state(), global_state)


def test_the_plan_knows_which_defences_draw(defence, tmp_path):
    """A chain draws if one of its members does, which its file cannot say."""
    kind = next(name for name, each in KINDS.items() if each.class_name == type(defence).__name__)
    if kind == "chain":
        return
    traits = KINDS[kind].traits
    assert defence.stochastic == traits.get("stochastic", False)
    if switch := traits.get("stochastic_if"):
        assert not make(kind, tmp_path, **{switch: 0}).stochastic


def test_images_do_not_influence_each_other(defence, images):
    if defence.stochastic:
        pytest.skip("a draw depends on what was drawn before")
    together = defence(images)
    alone = torch.cat([defence(image[None]) for image in images])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


def test_a_defence_is_left_in_evaluation_mode_without_gradients(defence):
    assert not defence.training
    assert not any(parameter.requires_grad for parameter in defence.parameters())


def test_bfloat16_changes_little(defence, images):
    defence.generator = generator(0, "a")
    exact = defence(images)
    defence.generator = generator(0, "a")
    with torch.autocast("cpu", torch.bfloat16):
        fast = defence(images)
    assert (fast.float() - exact).abs().max() < 0.05


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].fitted])
def test_fitting_twice_gives_the_same_bytes(kind, tmp_path):
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        make(kind, tmp_path / name)
        files.append((tmp_path / name / f"{kind}.h5").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].fitted])
def test_a_fitted_defence_keeps_its_curve_and_its_error(kind, tmp_path):
    make(kind, tmp_path)
    with h5py.File(tmp_path / f"{kind}.h5") as file:
        assert np.isfinite(file["training_curve"][:]).all()
        assert 0 < file["reconstruction_error"][()] < 1


def test_noise_is_uniform_between_its_bounds():
    noise = defences.build("noise", {"minimum": -4, "maximum": 12}, generator=generator(0, "n"))
    grey = torch.full((1, 3, 200, 200), 0.5)
    added = (noise(grey) - grey) * 255
    assert added.min() >= -4.001
    assert added.max() <= 12.001
    counts = torch.histc(added, bins=16, min=-4, max=12)
    # Each bin of 120,000 / 16 draws within five standard deviations.
    assert (counts - 7500).abs().max() < 5 * (7500 * 15 / 16) ** 0.5


def test_noise_at_magnitude_zero_is_no_defence(images):
    noise = defences.build("noise", {"minimum": 0, "maximum": 0}, generator=generator(0, "n"))
    torch.testing.assert_close(noise(images), images, rtol=0, atol=0)


def test_noise_stays_in_range():
    noise = defences.build("noise", {"minimum": -60, "maximum": 60}, generator=generator(0, "n"))
    after = noise(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 32, 32))
    assert after.min() == 0
    assert after.max() == 1


@pytest.mark.parametrize("size", [(224, 224), (37, 50)])
@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
def test_downsampling_is_pytorchs_resizing(size, ratio):
    images = torch.rand(2, 3, *size, generator=generator(0, "resizing"))
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    small = [max(1, round(side * ratio)) for side in size]
    # In double precision: in single its own weights are off by more than what is allowed here.
    shrunk = F.interpolate(images.double(), small, mode="bilinear", antialias=True)
    expected = F.interpolate(shrunk, size, mode="bilinear").float()
    defence = defences.build("downsample", {"ratio": ratio})
    # The first call is a score's, without gradients; the second an attack's, in bfloat16.
    with torch.inference_mode():
        torch.testing.assert_close(defence(images), expected, rtol=0, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        resized = defence(images)
    assert resized.dtype == torch.float32
    assert resized.is_contiguous(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(resized.square().sum(), images)
    (expected_gradient,) = torch.autograd.grad(expected.square().sum(), images)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-5)


def test_downsampling_by_half_averages_pairs():
    """Bilinear, antialiased shrinking of a smooth ramp and enlarging is the ramp, inside."""
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    half = defences.build("downsample", {"ratio": 0.5})
    torch.testing.assert_close(half(ramp)[..., 4:-4], ramp[..., 4:-4], rtol=0, atol=1e-4)
    checkers = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * torch.ones(1, 3, 1, 1)
    assert (half(checkers)[..., 4:-4, 4:-4] - 0.5).abs().max() < 0.05


def test_downsampling_equals_pillow(tmp_path):
    """Shrinking against an independent implementation, up to its 8-bit rounding."""
    from PIL import Image

    picture = photographs(1, 96)[0]
    small = Image.fromarray(picture).resize((48, 48), Image.Resampling.BILINEAR)
    expected = F.interpolate(
        torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255, 96, mode="bilinear"
    )
    half = defences.build("downsample", {"ratio": 0.5})
    resized = half(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)
    assert (resized - expected).abs().max() < 1.5 / 255


def test_a_ratio_of_one_changes_nothing(images):
    whole = defences.build("downsample", {"ratio": 1})
    torch.testing.assert_close(whole(images), images, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        ("noise", {"minimum": 5, "maximum": -5}, "expected minimum <= maximum"),
        ("downsample", {"ratio": 0}, "expected a fraction above 0"),
        ("downsample", {"ratio": 50}, "0.5 for half"),
    ],
)
def test_impossible_parameters_are_refused(kind, parameters, message):
    with pytest.raises(UserError, match=message):
        defences.build(kind, parameters)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "import nothing_like_it",
            r"cannot be imported \(ModuleNotFoundError: .*mine\.py, line 1\)",
        ),
        (
            "x = undefined",
            r"mine\.py: cannot be imported \(NameError: .* at .*mine\.py, line 1\)\. C",
        ),
        (
            "class Mine:\n    def __init__(self, p):\n        raise ValueError('too much')",
            r"kind 'median': cannot be made with \{'p': 3\} \(ValueError: too much at .*mine\.py",
        ),
        ("class Mine: ...", r"cannot be made with \{'p': 3\} \(TypeError: Mine\(\) takes no argu"),
    ],
)
def test_a_mistake_in_a_file_of_ones_own_is_one_sentence(tmp_path, monkeypatch, code, message):
    (tmp_path / "mine.py").write_text(f"{code}\n")

    def execute(module):
        file = tmp_path / "mine.py"
        namespace: dict = {}
        exec(compile(file.read_text(), str(file), "exec"), namespace)
        return SimpleNamespace(Median=namespace["Mine"])

    monkeypatch.setattr("advrob.plug_ins.importlib.import_module", execute)
    monkeypatch.setattr(
        kinds, "kind", lambda *_: SimpleNamespace(module="mine", class_name="Median")
    )
    with pytest.raises(UserError, match=message) as error:
        plug_ins.make("defence", "median", {"p": 3})
    assert "\n" not in str(error.value)
