"""Configurations that cannot be right are refused, with the key and the nearest valid name."""

import pytest
import yaml
from snakemake.utils import update_config, validate

from advrob.findings.claims import CLAIMS
from advrob.plan import configuration, schema
from advrob.plan import document as schema_document
from advrob.plan.configuration import (
    ConfigurationError,
    check,
    code_version,
    defence_kind,
    fit_defences,
    parts_played,
)
from conftest import ROOT

SCHEMA = str(schema.FILE)


@pytest.fixture
def config():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


def test_numbers_of_images_to_fit_add_defences(config):
    added = fit_defences(config)
    assert list(added) == ["pca_50", "pca_100", "pca_200"]
    assert added["pca_50"] == {"kind": "pca", "variance": 0.99, "images": 50}
    config["defences"].update(added)
    check(config)
    with pytest.raises(
        ConfigurationError, match=r"experiments\.fit_images: adds a defence pca_100"
    ):
        fit_defences(config)
    config["experiments"]["fit_images"] = None
    assert fit_defences(config) == {}


def test_claims_are_about_parts_that_the_default_plays(config):
    parts = parts_played(config)
    assert {cell.split("/")[1] for claim in CLAIMS for cell in claim.cells} <= parts.keys()
    assert (parts["noise"], parts["pca_fewest"]) == ("noise", "pca_50")
    assert (parts["downsample"], parts["downsample_75"]) == ("downsample", "downsample_75")
    config["defences"]["downsample"]["ratio"] = 0.75
    config["defences"]["half"] = {"kind": "downsample", "ratio": 0.5}
    config["experiments"]["fit_images"] = []
    parts = parts_played(config)
    assert (parts["downsample"], parts["downsample_75"]) == ("half", "downsample")
    assert "pca_fewest" not in parts


def test_the_default_is_valid(config):
    assert schema.mistake(config) is None
    validate(config, SCHEMA)
    check(config)


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda p: p.stem)
def test_presets_are_valid(config, preset, tmp_path, monkeypatch):
    update_config(config, yaml.safe_load(preset.read_text()))
    assert schema.mistake(config) is None
    validate(config, SCHEMA)
    monkeypatch.chdir(tmp_path)
    config["images_root"] = "photographs"
    for entry in config["models"].values():
        if "weights" in entry:
            file = tmp_path / entry["weights"]
            file.parent.mkdir(exist_ok=True)
            file.touch()
    check(config)


NO_KEY = "is no key of the configuration. Expected"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # Keys that do not exist, at every depth.
        ({"sede": 1}, f"sede: {NO_KEY} at the top one of: batch_size, "),
        ({"sede": 1}, "Did you mean 'seed'?"),
        ({"defenses": {}}, "Did you mean 'defences'?"),
        (
            {"images": {"test": {"per_clas": 2}}},
            f"images.test.per_clas: {NO_KEY} below images.test one of: crops, packages, per_class, "
            "prefer, splits, table, total. Did you mean 'images.test.per_class'?",
        ),
        (
            {"models": {"efficientnet_lite0": {"weight": "x"}}},
            "models.efficientnet_lite0.weights'?",
        ),
        ({"fooling_rate": 1}, "Did you mean 'perturbations.universal.fooling_rate'?"),
        ({7: 1}, f"7: {NO_KEY} at the top"),
        # Types.
        ({"seed": "one"}, "seed: found 'one', expected a whole number of at least 0."),
        ({"seed": True}, "seed: found true, expected a whole number"),
        ({"batch_size": 32.0}, "batch_size: found 32.0, expected a whole number of at least 1."),
        ({"defences": None}, "defences: found null, expected a mapping."),
        ({"images": [1]}, "images: found [1], expected a mapping."),
        ({"experiments": {"defences": "none"}}, "found 'none', expected a list of at least 1 item"),
        (
            {"perturbations": {"gan": {"learning_rate": "1e-4"}}},
            "perturbations.gan.learning_rate: found '1e-4', expected a number above 0. YAML takes "
            "what was found for text: leave out quotes, and write 1e-4 as 1.0e-4.",
        ),
        ({"images": {"note": list(range(99))}}, "14, 15, 16, 1..., expected null or text."),
        # Values.
        ({"device": "gpu"}, "device: found 'gpu', expected one of auto, cpu, cuda."),
        ({"images": {"layout": "tre"}}, "imagenet, table. Did you mean 'tree'?"),
        ({"batch_size": 0}, "batch_size: found 0, expected a whole number of at least 1."),
        ({"shards": 0}, "shards: found 0, expected"),
        (
            {"perturbations": {"universal": {"fooling_rate": 2}}},
            "universal.fooling_rate: found 2, expected a number above 0 and of at most 1.",
        ),
        (
            {"perturbations": {"universal": {"radius": float("nan")}}},
            "perturbations.universal.radius: found NaN, expected a number above 0 in units of",
        ),
        # Fractions of 1 where levels of 255 are expected.
        (
            {"perturbations": {"untargeted": {"pgd": {"radius": 0.0157}}}},
            "pgd.radius: found 0.0157, which is less than one of the 255 levels of a pixel. "
            "Expected a number in units of 1/255: did you mean 4?",
        ),
        ({"perturbations": {"gradient": {"step": 1 / 255}}}, "did you mean 1?"),
        ({"perturbations": {"universal": {"radius": 10 / 255}}}, "did you mean 10?"),
        ({"experiments": {"noise_magnitudes": [0, 0.5]}}, "noise_magnitudes[1]: found 0.5, which"),
        ({"experiments": {"smoothing": {"sigmas": [0.25]}}}, "did you mean 63.75?"),
        (
            {"perturbations": {"gradient": {"confidence": -1}}},
            "found -1, expected null or a number from 0 to 1.",
        ),
        (
            {"models": {"m": {"kind": "import", "function": "no colon"}}},
            "models.m.function: found 'no colon', expected text that matches ^[A-Za-z0-9_.]+:",
        ),
        # Lists.
        (
            {"defences": {"two": {"kind": "chain", "defences": []}}},
            "defences.two.defences: found [], expected a list of at least 1 item, each text.",
        ),
        (
            {"experiments": {"cross_tests": [["none"]]}},
            'experiments.cross_tests[0]: found ["none"], expected a list of 2 different items',
        ),
        (
            {"experiments": {"noise_magnitudes": [0, 300]}},
            "experiments.noise_magnitudes[1]: found 300, expected a number from 0 to 255 in",
        ),
        ({"experiments": {"downsampling": ["a", "a"]}}, 'found ["a", "a"], expected a list of'),
        (
            {"experiments": {"fit_images": [1]}},
            "fit_images[0]: found 1, expected a whole number of",
        ),
        # Names.
        (
            {"models": {"Inception-V3": {}}},
            "models.Inception-V3: is a name that cannot be used. Expected text that matches ^[a-z",
        ),
        ({"defences": {False: {}}}, "defences.False: is a name that cannot be used."),
        ({"perturbations": {"untargeted": {"gan": {"radius": 1}}}}, "other than universal, grad"),
        # What is not there.
        (
            {"perturbations": {"untargeted": {"pgd_2": {"kind": "pgd"}}}},
            "perturbations.untargeted.pgd_2.radius: is missing. Expected a number above 0 in",
        ),
    ],
)
def test_the_schema_refuses(config, change, message):
    update_config(config, change)
    found = schema.mistake(config)
    assert found is not None
    assert message in found
    assert "\n" not in found


def test_a_misspelled_key_is_told_rather_than_what_it_leaves_missing(config):
    config["defenses"] = config.pop("defences")
    assert schema.mistake(config).startswith("defenses: is no key")
    config["images"]["test_"] = config["images"].pop("test")
    del config["images"]["fit"]
    config["defences"] = config.pop("defenses")
    assert schema.mistake(config).startswith("images.test_: is no key")
    del config["images"]["test_"]
    assert schema.mistake(config) == "images.test: is missing. Expected a mapping."
    del config["defences"]
    assert schema.mistake(config) == "defences: is missing. Expected a mapping."


def test_every_key_is_described():
    for key in schema.keys(schema.load()):
        description = key.schema.get("description", "")
        assert description.endswith("."), key.path


def test_the_documentation_of_the_configuration_is_that_of_the_schema():
    written = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert written == schema_document.document(), "make it again, as CONTRIBUTING.md says"


def test_the_documentation_knows_every_key(config):
    """By another way through the schema: every key of the default is in it."""
    written = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")

    def paths(part, path):
        for key, value in part.items():
            yield [*path, key]
            if isinstance(value, dict):
                yield from paths(value, [*path, key])

    for path in paths(config, []):
        if path[0] == "defences":
            continue
        for chosen in (["models"], ["perturbations", "untargeted"]):
            if path[: len(chosen)] == chosen and len(path) > len(chosen):
                path[len(chosen)] = "<name>"
        name = ".".join(path)
        assert f"| `{name}` |" in written or f"## {name}\n" in written


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": {"layout": "tree"}}, "images_root: is not set, but the layout is tree."),
        ({"defences": {"blur": {}}}, "defences.blur: 'blur' is not a kind of defence"),
        ({"defences": {"blur": {}}}, "there is no file advrob/defences/blur.py"),
        ({"defences": {"p": {"kind": "pcaa"}}}, "Did you mean 'pca'"),
        ({"defences": {"noise": {"minimun": 1}}}, "'minimun' is not a parameter of noise"),
        ({"defences": {"noise": {"minimun": 1}}}, "Did you mean 'minimum'"),
        ({"defences": {"half": {"kind": "downsample"}}}, "parameter ratio is missing"),
        (
            {"defences": {"two": {"kind": "chain", "defences": ["pca", "nois"]}}},
            "defences.two.defences: 'nois' is not a defence that can be a member",
        ),
        ({"defences": {"two": {"kind": "chain"}}}, "parameter defences is missing"),
        ({"perturbations": {"universal": {"steps": 3}}}, "belongs to the method deepfool"),
        ({"models": {"timmm": {}}}, "models.timmm: 'timmm' is not a kind of model"),
        ({"models": {"m": {"kind": "timm", "function": "a:b"}}}, "models.m.function: is extra"),
        ({"models": {"m": {"kind": "import"}}}, "models.m.function: is missing"),
        ({"experiments": {"models": ["googlenet"]}}, "experiments.models: 'googlenet' is not a"),
        ({"experiments": {"defences": ["non"]}}, "Did you mean 'none'"),
        ({"experiments": {"cross_tests": [["none", "nois"]]}}, "Did you mean 'noise'"),
        ({"experiments": {"downsampling": ["noise"]}}, "'noise' has no ratio"),
        ({"experiments": {"universal": "published-vgg"}}, "'vgg' is not a published perturbation"),
        (
            {
                "perturbations": {
                    "published": {"vgg": {"file": "missing.mat", "norm": "l2", "radius": 1}}
                },
                "experiments": {"universal": "published-vgg"},
            },
            "perturbations.published.vgg.file: found no file missing.mat. Put the perturbation",
        ),
        ({"experiments": {"universal": "universal-vgg-none"}}, "'vgg' is not a model"),
        (
            {
                "models": {"googlenet": {"weights": "missing.safetensors"}},
                "experiments": {"models": ["googlenet"]},
            },
            "models.googlenet.weights: found no file missing.safetensors",
        ),
    ],
)
def test_what_does_not_exist_is_refused(config, change, message):
    update_config(config, change)
    with pytest.raises(ConfigurationError) as error:
        check(config)
    assert message in str(error.value)


TRAINED = {"base": "efficientnet_lite0", "train": {"method": "standard"}}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"base": "efficientnet"}, r"models\.mine: train is missing\. A model that is trained has"),
        ({"train": {"method": "gan"}}, r"models\.mine: base is missing"),
        ({**TRAINED, "weights": "x"}, r"models\.mine: weights is extra"),
        ({**TRAINED, "base": "standard"}, r"models\.mine\.base: 'standard' is not a model that is"),
        ({**TRAINED, "base": "efficientnet_lite"}, r"Did you mean 'efficientnet_lite0'\?"),
        (
            {**TRAINED, "train": {"method": "standard", "radius": 4}},
            r"models\.mine\.train: radius does not belong to standard",
        ),
        (
            {**TRAINED, "train": {"method": "universal", "replays": 4}},
            r"replays does not belong to universal. Expected of its own: radius, step",
        ),
        ({**TRAINED, "train": {"method": "multitask"}}, r"models\.mine\.train\.tasks: is missing"),
    ],
)
def test_a_trained_model_has_a_base_and_what_its_lesson_takes(config, entry, message):
    config["models"]["mine"] = entry
    with pytest.raises(ConfigurationError, match=message):
        check(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"control": "efficientnet_lite0"},
            "control: 'efficientnet_lite0' is not a model that is tr",
        ),
        ({"models": ["multitasks"]}, r"models: 'multitasks' .*Did you mean 'multitask'\?"),
        ({"defences": ["nose"]}, r"preventive\.defences: 'nose' .*Did you mean 'noise'\?"),
        ({"models": ["other"]}, "begin with efficientnet_lite0, squeezenet1_1. Expected one base"),
    ],
)
def test_preventive_models_are_trained_ones_of_one_base(config, change, message):
    config["models"]["squeezenet1_1"] = {"kind": "torchvision"}
    config["models"]["other"] = {**TRAINED, "base": "squeezenet1_1"}
    config["experiments"]["preventive"] |= change
    with pytest.raises(ConfigurationError, match=message):
        check(config)


def test_a_trained_model_is_described_with_its_base(config):
    assert configuration.described_model(config, "efficientnet_lite0") == {}
    described = configuration.described_model(config, "standard")
    assert described["base"] == {"kind": "efficientnet_lite0"}
    assert described["train"] == config["models"]["standard"]["train"]


def test_a_defence_is_read_from_its_source():
    assert defence_kind("noise").parameters == {"minimum": True, "maximum": True}
    assert not defence_kind("noise").fitted
    assert defence_kind("pca").fitted


def test_an_edit_changes_the_version_of_what_it_touches_and_nothing_else(tmp_path, monkeypatch):
    def versions():
        configuration._imports.cache_clear()
        configuration._tree.cache_clear()
        return {
            (script, *modules): code_version(script, *modules)
            for script, *modules in (
                ("score", "defences.noise"),
                ("score", "defences.downsample"),
                ("published",),
            )
        }

    import shutil

    copy = tmp_path / "scripts"
    shutil.copytree(configuration.SCRIPTS, copy)
    monkeypatch.setattr(configuration, "SCRIPTS", copy)
    before = versions()
    for edited, touched in (
        ("advrob/defences/noise.py", {("score", "defences.noise")}),
        (
            "advrob/models/__init__.py",
            {("score", "defences.noise"), ("score", "defences.downsample")},
        ),
        ("advrob/files/store.py", set(before)),
        ("published.py", {("published",)}),
    ):
        with (copy / edited).open("a") as file:
            file.write("# an edit\n")
        after = versions()
        assert {key for key in before if before[key] != after[key]} == touched
        before = after
    configuration._imports.cache_clear()
    configuration._tree.cache_clear()
