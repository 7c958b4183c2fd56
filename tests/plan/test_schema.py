"""Values that cannot be right are refused: key, what was found, what is expected, nearest name."""

import copy
import math
from datetime import date

import pytest
import yaml
from configurations import changed, default, refusal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advrob.plan import experiments, kinds, schema
from advrob.plan.errors import ConfigurationError
from advrob.plan.jobs import Jobs
from advrob.plan.plan import Plan
from advrob.plan.repeated import refuse_repeated_keys, require_utf_8
from conftest import ROOT
from fuzzing import time_limited

NO_KEY = "is not a key of the configuration. Expected"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # Keys that do not exist, at every depth.
        ({"sede": 1}, f"sede: {NO_KEY} at the top one of: batch_size, "),
        ({"sede": 1}, "Did you mean 'seed'?"),
        ({"defenses": {}}, "Did you mean 'defences'?"),
        (
            {"images": {"test": {"per_clas": 2}}},
            f"images.test.per_clas: {NO_KEY} below images.test one of: crops, folder, packages, "
            "per_class, prefer, splits, table, total. Did you mean 'images.test.per_class'?",
        ),
        (
            {"models": {"efficientnet_lite0": {"weight": "x"}}},
            "models.efficientnet_lite0.weights'?",
        ),
        ({"fooling_rate": 1}, "Did you mean 'perturbations.universal.fooling_rate'?"),
        ({7: 1}, f"7: {NO_KEY} at the top"),
        # Types.
        ({"seed": "one"}, "seed: found 'one', expected a whole number from 0 to"),
        ({"seed": True}, "seed: found true, expected a whole number"),
        ({"batch_size": 32.0}, "batch_size: found 32.0, expected a whole number of at least 1."),
        ({"defences": [None]}, "defences: found [null], expected a mapping."),
        ({"images": [1]}, "images: found [1], expected a mapping."),
        ({"experiments": {"defences": "none"}}, "found 'none', expected a list of at least 1 item"),
        (
            {"perturbations": {"gan": {"learning_rate": "1e-4"}}},
            "perturbations.gan.learning_rate: found '1e-4', expected a number above 0. YAML "
            "reads this as text: leave out quotes, write 1e-4 as 1.0e-4, and",
        ),
        ({"images": {"note": list(range(99))}}, "14, 15, 16, 1..., expected null or text."),
        (
            {"experiments": {"preventive": "null"}},
            "expected null or a mapping. YAML reads this as text: leave out quotes, and put",
        ),
        ("images: {size: '32'}", "and put a mapping into a file instead of after --config."),
        ("seed: 1e20", "seed: found '1e20', expected a whole number from 0 to 9223372036854775807"),
        ("seed: 1.0e+20", "seed: found 1e+20, expected a whole number"),
        ({"seed": 10**20}, "seed: found 100000000000000000000, expected a whole number from 0 to"),
        ({"batch_size": 10**20}, "of at least 1. This number takes more than 64 bits."),
        ({"images": {"note": {yaml.safe_load("2020-01-02"): 1}}}, "images.note: found {datetime"),
        # Values.
        ({"device": "gpu"}, "device: found 'gpu', expected one of auto, cpu, cuda."),
        ({"images": {"layout": "tre"}}, "imagenet, table. Did you mean 'tree'?"),
        ({"batch_size": 0}, "batch_size: found 0, expected a whole number of at least 1."),
        ({"seed": -1}, "seed: found -1, expected a whole number from 0"),
        ({"shards": 0}, "shards: found 0, expected"),
        (
            {"images": {"size": 10**12}},
            "images.size: found 1000000000000, expected a whole number from 8 to 4096.",
        ),
        (
            {"shards": 1_000_000},
            "shards: found 1000000, expected a whole number from 1 to 100. Each shard of each "
            "data set and score is a job;",
        ),
        (
            {"perturbations": {"universal": {"fooling_rate": 2}}},
            "universal.fooling_rate: found 2, expected a number above 0 and of at most 1.",
        ),
        (
            {"perturbations": {"universal": {"radius": math.nan}}},
            "perturbations.universal.radius: found NaN, expected a number above 0 in units of",
        ),
        ({"perturbations": {"gradient": {"step": math.inf}}}, "step: found Infinity, expected a"),
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
        ({"defences": {"noise": {"minimum": -0.1}}}, "did you mean -25.5?"),
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
            {"experiments": {"defences": ["none", "noise", "noise"]}},
            "'noise' is in it twice: remove one.",
        ),
        ({"experiments": {"cross_tests": [["none", "none"]]}}, "'none' is in it twice: remove one"),
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
        (
            {"images": {"note": date(2024, 1, 1)}},
            'images.note: found "2024-01-01", expected null or text. YAML reads this as a number, '
            "a date or a truth value: put it in quotes.",
        ),
        (
            {"defences": {1: {}}},
            "defences.1: is a name that cannot be used. Expected text that matches ^[a-z0-9_]+$. "
            "YAML reads it as no text: put it in quotes.",
        ),
        ({"perturbations": {"untargeted": {"gan": {"radius": 1}}}}, "other than universal, grad"),
        ({"perturbations": {"untargeted": {"tuning": {"radius": 1}}}}, "is a name that cannot be"),
        # What is not there.
        (
            {"perturbations": {"untargeted": {"pgd_2": {"kind": "pgd"}}}},
            "perturbations.untargeted.pgd_2.norm: is missing. Expected one of linf, l2.",
        ),
        (
            {"perturbations": {"untargeted": {"pgd_2": {"kind": "pgd", "norm": "l2"}}}},
            "perturbations.untargeted.pgd_2.radius: is missing. Expected a number above 0 in",
        ),
        ("defences: null", "defences: is missing. Expected a mapping."),
        # Keys that exclude each other.
        ("images: {fit: {per_class: 2, total: 9}}", "images.fit: found per_class and total, exp"),
    ],
)
def test_what_the_schema_refuses(change, message):
    assert message in refusal(change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # Types.
        ("defences: {noise: {minimum: .nan}}", "noise.minimum: found NaN, expected a number from"),
        ("defences: {noise: {maximum: -.inf}}", "noise.maximum: found -Infinity, expected a num"),
        (
            "defences: {autoencoder: {learning_rate: 1.0e+300}}",
            "autoencoder.learning_rate: found 1e+300, expected a number above 0. Numbers with a "
            "point are smaller than 3.4e+38.",
        ),
        ("defences: {autoencoder: {noise: 256}}", "noise: found 256, expected a number from 0 to"),
        (
            "defences: {d: {kind: dncnn, sigmas: [0.1]}}",
            "defences.d.sigmas[0]: found 0.1, which is less than one of the 255 levels of a pixel. "
            "Expected a number in units of 1/255: did you mean 25.5?",
        ),
        ("defences: {d: {kind: dncnn, sigmas: [-4]}}", "found -4, expected a number above 0 and"),
        ("defences: {noise: {maximum: ten}}", "noise.maximum: found 'ten', expected a number fr"),
        (
            "defences: {autoencoder: {learning_rate: 1e-3}}",
            "defences.autoencoder.learning_rate: found '1e-3', expected a number above 0. YAML "
            "reads this as text: leave out quotes, write 1e-4 as 1.0e-4",
        ),
        ("defences: {autoencoder: {hidden: 2.5}}", "autoencoder.hidden: found 2.5, expected a wh"),
        ("defences: {autoencoder: {hidden: 4.0}}", "autoencoder.hidden: found 4.0, expected a wh"),
        ("defences: {autoencoder: {epochs: true}}", "epochs: found true, expected a whole number"),
        ("defences: {noise: {maximum: true}}", "noise.maximum: found true, expected a number"),
        ("defences: {downsample: {ratio: [0.5]}}", "downsample.ratio: found [0.5], expected a"),
        ("defences: {downsample: {kind: [median]}}", 'downsample.kind: found ["median"], exp'),
        ("defences: {noise: loud}", "defences.noise: found 'loud', expected a mapping."),
        # Out of range.
        ("defences: {downsample: {ratio: 1.5}}", "found 1.5, expected a number above 0 and of at"),
        ("defences: {b: {kind: bit_depth, bits: 9}}", "b.bits: found 9, expected a whole number f"),
        ("defences: {autoencoder: {epochs: 0}}", "found 0, expected a whole number of at least 1"),
        ("defences: {pca: {images: 1}}", "pca.images: found 1, expected null or a whole number o"),
        (
            "perturbations: {untargeted: {square: {queries: 0}}}",
            "perturbations.untargeted.square.queries: found 0, expected a whole number of at least",
        ),
        (
            "perturbations: {untargeted: {apgd_ce: {loss: cross_entrop}}}",
            "apgd_ce.loss: found 'cross_entrop', expected one of cross_entropy, margin, logits_rat",
        ),
        ("perturbations: {untargeted: {pgd: {levels: 255}}}", "expected null or one of 256."),
        (
            "perturbations: {universal: {method: deepfool, classes: 1}}",
            "perturbations.universal.classes: found 1, expected a whole number of at least 2.",
        ),
        (
            "models: {multitask: {train: {tasks: {coarse: 0}}}}",
            "models.multitask.train.tasks.coarse: found 0, expected a number above 0.",
        ),
        (
            "models: {multitask: {train: {tasks: {coarse: null, reconstruction: null}}}}",
            "multitask.train.tasks: found {}, expected a mapping of at least 1 entry.",
        ),
        ("models: {m: {kind: timm, size: 0}}", "models.m.size: found 0, expected a whole number"),
        # Unknown keys, and keys of others.
        (
            "defences: {noise: {minimun: 1}}",
            f"defences.noise.minimun: {NO_KEY} below defences.noise one of: kind, maximum, "
            "minimum. Did you mean 'defences.noise.minimum'?",
        ),
        (
            "defences: {noise: {ratio: 1}}",
            "defences.noise.ratio: belongs to the kind downsample or resize_pad, but the kind is "
            "noise, whose own keys are: minimum, maximum. Remove the key (with null, if an "
            "earlier file sets it)",
        ),
        (
            "perturbations: {untargeted: {square: {step: 1}}}",
            "square.step: belongs to the kind pgd, but the kind is square",
        ),
        (
            "perturbations: {untargeted: {pgd: {iteration: 3}}}",
            "Did you mean 'perturbations.untargeted.pgd.iterations'?",
        ),
        ("perturbations: {universal: {steps: 3}}", "steps: belongs to the method deepfool"),
        ("perturbations: {universal: {stepp: 3}}", "Did you mean 'perturbations.universal.step'?"),
        (
            "models: {m: {kind: timm, function: 'a:b'}}",
            "models.m.function: belongs to the kind import, but the kind is timm",
        ),
        ("models: {m: {kind: timm, architectur: x}}", "Did you mean 'models.m.architecture'?"),
        (
            "models: {standard: {train: {radius: 4}}}",
            "standard.train.radius: belongs to the method free or gan or pgd or universal, but the "
            "method is standard, whose own keys are: none.",
        ),
        (
            "models: {adversarial: {train: {replays: 4}}}",
            "replays: belongs to the method free, but the method is universal, whose own keys are: "
            "radius, step.",
        ),
        # A key of another lesson, but where that has none.
        (
            "models: {multitask: {train: {tasks: {radius: 1}}}}",
            f"models.multitask.train.tasks.radius: {NO_KEY} below models.multitask.train.tasks one",
        ),
        (
            "models: {multitask: {train: {tasks: {coarze: 1}}}}",
            "Did you mean 'models.multitask.train.tasks.coarse'?",
        ),
        # Missing.
        ("defences: {half: {kind: downsample}}", "defences.half.ratio: is missing. Expected a nu"),
        ("defences: {two: {kind: chain}}", "defences.two.defences: is missing. Expected a list"),
        ("models: {m: {kind: import}}", "models.m.function: is missing. Expected text that match"),
        ("models: {multitask: {train: {tasks: null}}}", "multitask.train.tasks: is missing. Expec"),
        (
            "models: {m: {base: efficientnet_lite0, train: {epochs: 3}}}",
            "models.m.train.method: is missing. Expected text.",
        ),
        # Kinds that do not exist.
        (
            "defences: {blur: {}}",
            "defences.blur: 'blur' is not a kind of defence (there is no file "
            "advrob/defences/blur.py). Expected one of: autoencoder, bit_depth, chain, ",
        ),
        ("defences: {p: {kind: pcaa}}", "defences.p.kind: 'pcaa' is not a kind of defence"),
        ("defences: {p: {kind: pcaa}}", "Did you mean 'pca'?"),
        ("defences: {p: {kind: ../attacks/pgd}}", "'../attacks/pgd' is not a kind of defence"),
        ({"defences": {"p": {"kind": "x" * 300}}}, "is not a kind of defence"),
        ({"defences": {"p": {"kind": "a\0b"}}}, "is not a kind of defence"),
        ("models: {timmm: {}}", "models.timmm: 'timmm' is not a kind of model"),
        ("models: {m: {kind: imported}}", "models.m.kind: 'imported' is not a kind of model. Exp"),
        ("models: {m: {kind: imported}}", "Did you mean 'import'?"),
        ("models: {m: {kind: zoo}}", "advrob/models/zoo.py has no class that derives from ModelK"),
        (
            "perturbations: {untargeted: {pdg: {radius: 4}}}",
            "perturbations.untargeted.pdg: 'pdg' is not a kind of attack",
        ),
        ("perturbations: {universal: {method: deepfol}}", "universal.method: 'deepfol' is not a "),
        ("perturbations: {universal: {method: deepfol}}", "Did you mean 'deepfool'?"),
        (
            "models: {standard: {train: {method: standart}}}",
            "models.standard.train.method: 'standart' is not a lesson",
        ),
        ("models: {standard: {train: {method: climbing}}}", "method: 'climbing' is not a lesson."),
        # Keys that depend on each other.
        (
            "defences: {pca: {components: 20}}",
            "defences.pca: found variance and components, expected only one of them. Remove the "
            "other (with null, if an earlier file sets it).",
        ),
        (
            "defences: {noise: {minimum: 20}}",
            "defences.noise: minimum is 20 and maximum is 10; expected minimum <= maximum.",
        ),
    ],
)
def test_what_a_plug_in_refuses(change, message):
    assert message in refusal(change)


@pytest.mark.parametrize(
    "change",
    [
        "perturbations: {untargeted: {square: null}}",
        "defences: {pca: {variance: null, components: 20}}",
        "images: {test: {per_class: null, total: 100}}",
        "models: {multitask: {train: {method: standard, tasks: null}}}",
        "experiments: {preventive: null, smoothing: null, fit_images: null, transfer: null}",
    ],
)
def test_null_takes_away(change):
    config = Plan(changed(change)).config

    def check(expected, completed):
        for key, value in expected.items():
            if isinstance(value, dict):
                check(value, completed[key])
            else:
                assert completed.get(key) == value

    check(yaml.safe_load(change), config)


def test_a_misspelled_key_is_named_rather_than_what_it_leaves_missing():
    config = default()
    config["defenses"] = config.pop("defences")
    assert schema.mistake(config).startswith("defenses: is not a key")
    config["images"]["test_"] = config["images"].pop("test")
    config["defences"] = config.pop("defenses")
    assert schema.mistake(config).startswith("images.test_: is not a key")
    del config["images"]["test_"]
    assert schema.mistake(config) == "images.test: is missing. Expected a mapping."
    del config["defences"]
    assert schema.mistake(config) == "defences: is missing. Expected a mapping."


def test_defaults_are_filled_in_and_the_given_stays():
    configured = {"perturbations": {"gan": {"epochs": 7}}, "seed": 3}
    before = copy.deepcopy(configured)
    filled = schema.filled(configured)
    assert configured == before
    assert (filled["seed"], filled["shards"]) == (3, 1)
    assert filled["perturbations"]["gan"] == {
        "images": None,
        "epochs": 7,
        "batch_size": 20,
        "radius": 10,
        "latent": 100,
        "realism": 1,
        "learning_rate": 0.001,
    }
    # What is filled in is the caller's own.
    filled["perturbations"]["published"]["mine"] = {}
    assert schema.filled({"perturbations": {}})["perturbations"]["published"] == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "experiments: {draws: 7}\nseed: 1\nexperiments: {noise_magnitudes: [0, 5]}\n",
            r"mine\.yaml: found experiments in line 1 and again in line 3\. Expected each key once",
        ),
        (
            "models:\n  a: {size: 3}\n  b: {size: 3, kind: timm, size: 4}\n",
            r"found models\.b\.size in line 3 and again in line 3",
        ),
        ('{"seed": 1,\n"seed": 2}', "found seed in line 1 and again in line 2"),
        ("images: {test: {packages: [{package: a, package: b}]}}", r"images\.test\.packages\.pack"),
    ],
)
def test_keys_that_stand_twice_in_a_file_are_refused(tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        refuse_repeated_keys([ROOT / "config.yaml", file])


def test_files_without_repeated_keys_pass(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    (tmp_path / "list.yaml").write_text("a: [1, 1]\nb: {a: 1}\n")
    refuse_repeated_keys([*ROOT.glob("presets/*.yaml"), *tmp_path.glob("*.yaml")])


# Fuzzing --------------------------------------------------------------------------------------


def key_paths(config):
    """The path of every key of the schema and of every plug-in, in a configuration that has it."""
    base = Plan(config).config
    for key in schema.keys(schema.load()):
        if "[]" not in key.path and "<name>" not in key.path:
            yield tuple(key.path.split("."))
    for plug_in in schema.plug_ins(base):
        yield from ((*plug_in.path, name) for name in plug_in.schema()["properties"])
    for sort, path in (
        ("defence", ("defences", "fuzzed")),
        ("attack", ("perturbations", "untargeted", "fuzzed")),
        ("model", ("models", "fuzzed")),
    ):
        for name, kind in kinds.kinds(sort).items():
            yield from ((*path, f"kind: {name}", key) for key in kind.keys)


EVERY = sorted(set(key_paths(default())))
# What YAML gives, and what is near to being right.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 300),
    st.sampled_from([2**63, -(2**63), 10**400, 10**20]),
    st.floats(),
    st.floats(-1, 1),
    st.text(max_size=5),
    st.sampled_from(["none", "pca", "noise", "{model}", "universal-{model}-none", "published-x"]),
    st.sampled_from(["efficientnet_lite0", "standard", "chain", "timm", "pgd", "linf", "x" * 300]),
    st.dates(),
    st.datetimes(),
    st.binary(max_size=3),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(SCALARS.filter(lambda key: key == key), st.sampled_from(["kind", "base"])),
            inner,
            max_size=2,
        ),
    ),
    max_leaves=5,
)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(EVERY), value=VALUES)
def test_any_value_of_any_key_is_taken_or_refused_in_one_sentence(path, value):
    config = default()
    *parents, last = path
    part = config
    for step in parents:
        if step.startswith("kind: "):
            part["kind"] = step.removeprefix("kind: ")
        else:
            part[step] = part.get(step) or {}
            part = part[step]
    part[last] = value
    try:
        with time_limited():
            plan = Plan(config)
    except ConfigurationError as error:
        assert str(error)
        return
    # What is taken can be planned with.
    for cells in (experiments.replication, experiments.robustness, experiments.preventive):
        for cell in cells(plan):
            assert cell.path
            assert plan.describe(cell.network)["members"]
            plan.modules(cell.network)
    assert experiments.settings(plan) is not None
    for attack in plan.attacks.values():
        assert attack.radius > 0
    jobs = Jobs(plan)
    assert jobs.images(None, None).minutes > 0


def test_a_configuration_in_another_encoding_is_refused(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("seed: 1\nimages: {note: grün}\n", encoding="utf-8")
    require_utf_8(file)
    file.write_text("seed: 1\nimages: {note: grün}\n", encoding="latin-1")
    with pytest.raises(ConfigurationError, match=r"config\.yaml, line 2: is not text in UTF-8 \("):
        require_utf_8(file)
