"""The plan refuses parts that do not fit together, and describes networks and attacks."""

import pytest
from configurations import changed, default, preset, refusal

from advrob.findings.claims import CLAIMS
from advrob.plan import kinds
from advrob.plan.experiments import taught_models
from advrob.plan.names import DataSet, Network
from advrob.plan.plan import Plan
from conftest import ROOT

M = "efficientnet_lite0"
PRESETS = sorted(path.stem for path in ROOT.glob("presets/*.yaml"))


def test_the_default_is_valid():
    plan = Plan(default())
    assert plan["experiments.models"] == plan.models == [M]
    assert plan["perturbations.gan.radius"] == 10
    assert (
        plan["perturbations.gan.nothing"] is plan["seed.nothing"] is plan["images.unseen"] is None
    )


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid(name, tmp_path, monkeypatch):
    plan = Plan(preset(name, tmp_path, monkeypatch))
    assert plan["images_root"] == "photographs"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_the_files_that_they_need(name, tmp_path, monkeypatch):
    """Without weights they are refused, except where a library fetches them."""
    config = preset(name, tmp_path, monkeypatch)
    files = list(tmp_path.rglob("*.safetensors"))
    for file in files:
        file.unlink()
        with pytest.raises(ValueError, match=r"^models\.\w+\.weights: found no file resources/"):
            Plan(config)
    assert len(files) == {"imagenet": 0, "imagenette": 1}[name]


def test_stochastic_defences_are_known():
    plan = Plan(
        changed(
            {
                "defences": {
                    "dropped": {"kind": "total_variation"},
                    "kept": {"kind": "total_variation", "drop": 0},
                    "both": {"kind": "chain", "defences": ["pca", "noise"]},
                    "neither": {"kind": "chain", "defences": ["pca", "kept"]},
                }
            }
        )
    )
    stochastic = {name for name in plan["defences"] if plan.is_stochastic(name)}
    assert stochastic == {"noise", "dropped", "both"}


def test_a_configuration_is_not_changed():
    config = default()
    Plan(config)
    assert config == default()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"images": {"layout": "tree"}},
            "images_root: is not set, but the layout is tree. Expected",
        ),
        # Names that tables and figures presume.
        (
            "defences: {none: {kind: noise, minimum: 0, maximum: 1}}",
            "defences.none.kind: found 'noise', expected none: the name is reserved for the con",
        ),
        (
            "defences: {pca: {kind: median, size: 2, variance: null}}",
            "defences.pca.kind: found 'median', expected pca: the name is reserved for the defence",
        ),
        (
            "defences: {noise: {kind: none, minimum: null, maximum: null}}",
            "defences.noise.kind: found 'none', expected noise",
        ),
        (
            "defences: {downsample: {kind: resize_pad}}",
            "defences.downsample.kind: found 'resize_pad', expected downsample",
        ),
        (
            "defences: {conv_autoencoder: {kind: autoencoder}}",
            "defences.conv_autoencoder.kind: found 'autoencoder', expected conv_autoencoder",
        ),
        ("defences: {none: null}", "defences.none: is missing. Expected a mapping."),
        # Defences.
        (
            {"defences": {"two": {"kind": "chain", "defences": ["pca", "nois"]}}},
            "defences.two.defences: 'nois' is not a defence that can be a member",
        ),
        (
            "defences: {two: {kind: chain, defences: [pca, three]},\n"
            "  three: {kind: chain, defences: [pca, noise]}}",
            "defences.two.defences: 'three' is not a defence that can be a member (chains cannot)",
        ),
        (
            "defences: {pca_100: {kind: pca, components: 3}}",
            "experiments.fit_images: adds a defence pca_100, but the configuration has one of that "
            "name. Rename that one, or leave the number out.",
        ),
        # Values that are possible, but not beside others.
        (
            "defences: {p: {kind: patch_pca, patch: 225}}",
            "defences.p.patch: found 225, but images.size is 224. Expected at most 224, the side",
        ),
        (
            "defences: {m: {kind: median, size: 64}}\nimages: {size: 32}",
            "defences.m.size: found 64, but images.size is 32.",
        ),
        (
            "defences: {autoencoder: {hidden: 150529}}",
            "defences.autoencoder.hidden: found 150529, but images.size is 224. Expected at most "
            "150528, the numbers in an image.",
        ),
        (
            "perturbations: {untargeted: {pgd_l2: {radius: 3.0, step: 1}}}",
            "pgd_l2.radius: found 3, an l_2 length that moves 9 of an image's 150528 values by one "
            "level. Expected a number in units of 1/255, probably 765.",
        ),
        (
            "perturbations: {universal: {norm: l2, radius: 7.84}}",
            "perturbations.universal.radius: found 7.84, an l_2 length that moves 61 of",
        ),
        (
            "experiments: {calibration: {radii: {l2: [3.0]}}}",
            "experiments.calibration.radii.l2[0]: found 3, an l_2 length that moves 9 of an "
            "image's 12288 values by one level.",
        ),
        (
            "experiments: {smoothing: {draws: 10, radii: [0, 4]}}",
            "experiments.smoothing: 10 draws of noise of sigma 16 certify a radius of at most "
            "0.0476; expected one that reaches the smallest of radii above 0, 4. Raise draws or",
        ),
        (
            "experiments: {smoothing: {radii: [8, 0], attack: {iterations: 1, draws: 1, checks: "
            "10}}}",
            "experiments.smoothing.radii: found [8, 0], expected numbers in ascending order.",
        ),
        *(
            (
                f"images: {{test: {{packages: [{{package: foolbox, {entry}}}]}}}}",
                f"images.test.packages[0].{message}",
            )
            for entry, message in (
                (r"files: [x.jpg], label: '_(\d+'", r"label: '_(\d+' is not a regular expression"),
                (
                    r"files: [x.jpg], label: '_\d+'",
                    r"label: '_\d+' has no group. Expected one with",
                ),
                ("files: [/x.jpg]", "files: '/x.jpg' is not a pattern of files (Non-relative"),
                ("files: [x.jpg, '']", "files: '' is not a pattern of files (Unacceptable"),
                ("files: ['**x']", "files: '**x' is not a pattern of files (Invalid pattern"),
            )
        ),
        ("images: {fit: {packages: []}}", "images.fit.packages: found [], expected a list of at"),
        # Models.
        (
            {
                "models": {"googlenet": {"weights": "missing.npz"}},
                "experiments": {"models": ["googlenet"]},
            },
            "models.googlenet.weights: found no file missing.npz. Put the network's weights there",
        ),
        (
            {
                "models": {"googlenet": {"weights": "x" * 300}},
                "experiments": {"models": ["googlenet"]},
            },
            "models.googlenet.weights: found no file xxx",
        ),
        (
            {"models": {"googlenet": {"weights": ""}}, "experiments": {"models": ["googlenet"]}},
            "models.googlenet.weights: found no file",
        ),
        (
            "models: {googlenet: {}}\nexperiments: {models: [googlenet]}",
            "models.googlenet.weights: is missing. googlenet has no weights of its own: name a fil",
        ),
        (
            "models: {g: {kind: googlenet}, t: {base: g, train: {method: standard}}}",
            "models.g.weights: is missing.",
        ),
        # Experiments.
        (
            {"experiments": {"models": ["googlenet"]}},
            "experiments.models: 'googlenet' is not a model",
        ),
        (
            {"experiments": {"transfer": [M, "efficientnet_lite1"]}},
            "experiments.transfer: 'efficientnet_lite1' is not a model. Expected one of: adversari",
        ),
        (
            {"experiments": {"transfer": [M, "efficientnet_lite1"]}},
            "Did you mean 'efficientnet_lite0'?",
        ),
        (
            {"experiments": {"transfer": [M]}},
            f'experiments.transfer: found ["{M}"], expected null or a list of at least 2 differ',
        ),
        (
            "models: {googlenet: {}}\nexperiments: {transfer: [efficientnet_lite0, googlenet]}",
            "models.googlenet.weights: is missing.",
        ),
        (
            {"experiments": {"defences": ["non"]}},
            "experiments.defences: 'non' is not a defence. Exp",
        ),
        ({"experiments": {"defences": ["non"]}}, "Did you mean 'none'?"),
        (
            {"experiments": {"cross_tests": [["none", "nois"]]}},
            "experiments.cross_tests: 'nois' is",
        ),
        ({"experiments": {"cross_tests": [["none", "nois"]]}}, "Did you mean 'noise'?"),
        ({"experiments": {"downsampling": ["downsampl"]}}, "Did you mean 'downsample'?"),
        (
            {"experiments": {"downsampling": ["noise"]}},
            "'noise' has no ratio. Expected defences of",
        ),
        (
            {"experiments": {"robustness": {"defences": ["pcs"]}}},
            "robustness.defences: 'pcs' is not",
        ),
        (
            {"experiments": {"robustness": {"trained": ["efficientnet_lite0"]}}},
            "robustness.trained: 'efficientnet_lite0' is not a model that is trained",
        ),
        (
            {"experiments": {"robustness": {"radii": [0, 4, 2]}}},
            "experiments.robustness.radii: found [0, 4, 2], expected numbers in ascending order.",
        ),
        (
            {"experiments": {"robustness": {"efforts": [5, 1]}}},
            "experiments.robustness.efforts: found [5, 1], expected numbers in ascending order.",
        ),
        (
            "experiments: {settings: {images: 9, candidates: {some: [noise, nose]}}}",
            "experiments.settings.candidates.some: 'nose' is not a defence.",
        ),
        (
            "experiments: {settings: {images: 9, candidates: {some: [noise, pca]}}}",
            "candidates.some: 'pca' learns from the images to fit, so they cannot show how good it",
        ),
        (
            "defences: {two: {kind: chain, defences: [noise, pca]}}\n"
            "experiments: {settings: {images: 9, candidates: {some: [noise, two]}}}",
            "candidates.some: 'two' learns from the images to fit",
        ),
        # The data set that plays Universal.
        (
            {"experiments": {"universal": "published-vgg"}},
            "experiments.universal: 'vgg' is not a published perturbation. Expected one of: none.",
        ),
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
            {"experiments": {"universal": "universal-{model}-nose"}},
            "experiments.universal: 'nose' is not a defence.",
        ),
        *(
            (
                {"experiments": {"universal": f"universal-{braces}-none"}},
                f"experiments.universal: found 'universal-{braces}-none', expected no name in "
                "braces except {model}, which stands for each model. Did you mean "
                "'universal-{model}-none'?",
            )
            for braces in ("{modell}", "{}", "{", "}", "{model", "model}", "{0}")
        ),
        (
            {"experiments": {"universal": "gradient-{model}-none"}},
            "experiments.universal: found 'gradient-{model}-none', expected text that matches",
        ),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(change, message):
    assert message in refusal(change)


TRAINED = {"base": M, "train": {"method": "standard"}}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"base": M},
            "models.mine: train is missing. A model that is trained has base, the name of",
        ),
        ({"train": {"method": "gan"}}, "models.mine: base is missing. A model that is trained has"),
        ({**TRAINED, "weights": "x"}, "models.mine: weights is extra. A model that is trained has"),
        ({**TRAINED, "kind": "timm"}, "models.mine: kind is extra."),
        ({"bas": M, "train": TRAINED["train"]}, "bas is extra. Did you mean 'base'?"),
        (
            {**TRAINED, "base": "standard"},
            "models.mine.base: 'standard' is not a model that is not",
        ),
        (
            {**TRAINED, "base": "mine"},
            "models.mine.base: 'mine' is not a model that is not trained",
        ),
        ({**TRAINED, "base": "efficientnet_lite"}, "Did you mean 'efficientnet_lite0'?"),
        (
            {**TRAINED, "train": {"method": "multitask"}},
            "models.mine.train.tasks: is missing. Expected a mapping of at least 1 entry.",
        ),
    ],
)
def test_a_trained_model_has_a_base_and_what_its_lesson_takes(entry, message):
    assert message in refusal({"models": {"mine": entry}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"control": M}, f"preventive.control: '{M}' is not a model that is trained. Expected one"),
        (
            {"models": ["multitasks"]},
            "preventive.models: 'multitasks' is not a model that is train",
        ),
        ({"models": ["multitasks"]}, "Did you mean 'multitask'?"),
        ({"models": ["gan", "standard"]}, "models: found 'standard', which is the control. Expect"),
        ({"defences": ["nose"]}, "preventive.defences: 'nose' is not a defence."),
        ({"defences": ["nose"]}, "Did you mean 'noise'?"),
        ({"models": ["other"]}, f"start from {M}, squeezenet1_1. Expected one base, so that they"),
    ],
)
def test_preventive_models_are_trained_ones_of_one_base(change, message):
    models = {
        "squeezenet1_1": {"kind": "torchvision"},
        "other": {**TRAINED, "base": "squeezenet1_1"},
    }
    assert message in refusal({"models": models, "experiments": {"preventive": change}})


# What it says ----------------------------------------------------------------------------------


def test_numbers_of_images_to_fit_add_defences():
    plan = Plan(default())
    added = plan.config["defences"].keys() - default()["defences"].keys()
    assert added == {"pca_50", "pca_100", "pca_200"}
    assert plan["defences"]["pca_50"] == {"kind": "pca", "variance": 0.99, "images": 50}
    assert plan.is_fitted("pca_50")
    assert plan.grown == ["pca_50", "pca_100", "pca_200", "pca"]
    without = Plan(changed("experiments: {fit_images: []}"))
    assert without.config["defences"].keys() == default()["defences"].keys()
    assert without.grown == ["pca"]


def test_claims_are_about_parts_that_the_default_plays():
    plan = Plan(default())
    parts = plan.parts
    (model,) = plan.models
    trained = {f"trained-{lesson}" for lesson in taught_models(plan, model)}
    cells = {cell.split("/")[1] for claim in CLAIMS for cell in claim.cells}
    assert cells <= parts.keys() | trained
    assert (parts["noise"], parts["pca_fewest"]) == ("noise", "pca_50")
    assert (parts["downsample"], parts["downsample_75"]) == ("downsample", "downsample_75")


def test_downsampling_plays_its_part_by_its_ratio():
    parts = Plan(
        changed(
            "defences: {downsample: {ratio: 0.75}, half: {kind: downsample, ratio: 0.5}}\n"
            "experiments: {fit_images: null}"
        )
    ).parts
    assert (parts["downsample"], parts["downsample_75"]) == ("half", "downsample")
    assert "pca_fewest" not in parts


@pytest.fixture
def plan():
    return Plan(
        changed(
            "defences: {two: {kind: chain, defences: [pca, noise]}}\n"
            "models: {g: {kind: googlenet, weights: g.npz}, h: {base: g, train: {method: pgd}}}\n"
            "experiments: {robustness: {defences: [none]}}"
        )
        | {"device": "cpu"}
    )


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.npz").touch()


def test_what_a_network_learned(plan):
    shared = "results/defences/shared"
    assert plan.learned_files(Network(M)) == []
    assert plan.learned_files(Network(M, "noise")) == []
    assert plan.learned_files(Network(M, "two")) == [f"{shared}/pca.h5"]
    assert plan.learned_files(Network("h", "autoencoder")) == [
        f"{shared}/autoencoder.h5",
        "results/models/h.h5",
    ]


def test_a_network_is_described(plan):
    """In a folder of its own, as where another workflow imports this one."""
    network = Network("h", "two")
    files = [f"elsewhere/{file}" for file in plan.learned_files(network)]
    assert plan.describe(network, files) == {
        "model": "h",
        "defence": "two",
        "model_settings": {
            "base": {"kind": "googlenet", "weights": "g.npz"},
            "train": plan["models"]["h"]["train"],
        },
        "defence_settings": {
            "kind": "chain",
            "defences": [
                {"kind": "pca", "variance": 0.99},
                {"kind": "noise", "minimum": -10, "maximum": 10},
            ],
        },
        "members": ["pca", "noise"],
        "learned": {
            "defence pca": "elsewhere/results/defences/shared/pca.h5",
            "model h": "elsewhere/results/models/h.h5",
        },
    }
    bare = plan.describe(Network(M))
    assert (bare["model_settings"], bare["defence_settings"], bare["learned"]) == ({}, {}, {})
    assert bare["members"] == ["none"]
    assert plan["models"]["h"]["train"] == {
        "method": "pgd",
        "epochs": 5,
        "batch_size": 32,
        "learning_rate": 0.0001,
    }


def test_weights_count_by_their_content(tmp_path):
    def code(weights):
        config = changed(f"models: {{g: {{kind: googlenet, weights: '{weights}'}}}}")
        return Plan(config).code("score", Network("g"))

    (tmp_path / "a").mkdir()
    (tmp_path / "link.npz").symlink_to("g.npz")
    (tmp_path / "a/copy.npz").write_bytes(b"")
    first = code("g.npz")
    for same in ("./g.npz", "a/../g.npz", tmp_path / "g.npz", "link.npz", "a/copy.npz"):
        assert code(same) == first
    (tmp_path / "g.npz").touch()
    assert code("g.npz") == first
    (tmp_path / "g.npz").write_bytes(b"other")
    assert code("g.npz") != first


def test_the_kinds_of_what_is_configured(plan):
    assert plan.defence_kind("two").name == "chain"
    assert not plan.is_fitted("two")
    assert plan.lesson_kind("h").name == "pgd"
    assert plan.universal_kind.name == "stochastic_gradient"
    assert plan.is_trained("h")
    assert not plan.is_trained("g")


def test_what_attacks_say_of_themselves(plan):
    assert {name: (a.norm, a.radius, a.needs_gradient) for name, a in plan.attacks.items()} == {
        "universal": ("linf", 10, True),
        "gradient": ("linf", 4, True),
        "pgd": ("linf", 4, True),
        "pgd_l2": ("l2", 800, True),
        "apgd_ce": ("linf", 4, True),
        "apgd_dlr": ("linf", 4, True),
        "square": ("linf", 4, False),
    }


def test_an_attack_may_have_defaults_for_its_bounds(monkeypatch):
    keys = {
        "norm": {"type": "string", "enum": ["linf", "l2"], "default": "l2"},
        "radius": {"type": "number", "levels": True, "default": 0.5},
        "levels": {"type": ["integer", "null"], "enum": [256, None], "default": None},
    }
    mine = kinds.Kind("attack", "mine", "attacks.mine", "Mine", "Mine.", keys, ())
    there = kinds.kinds
    monkeypatch.setattr(
        kinds, "kinds", lambda sort: there(sort) | ({"mine": mine} if sort == "attack" else {})
    )
    plan = Plan(changed({"perturbations": {"untargeted": {"mine": {}, "b": {"kind": "mine"}}}}))
    attack = plan.attacks["mine"]
    assert (attack.norm, attack.radius, attack.real_valued) == ("l2", 0.5, True)
    # In whole levels, so short an l_2 radius is a mistake.
    assert "mine.radius: found 0.7, which is less than one of" in refusal(
        {"perturbations": {"untargeted": {"mine": {"radius": 0.7, "levels": 256}}}}
    )
    assert "mine.radius: found 3, an l_2 length that moves 9 of" in refusal(
        {"perturbations": {"untargeted": {"mine": {"radius": 3.0, "levels": 256}}}}
    )


@pytest.mark.parametrize(
    ("template", "dataset"),
    [
        ("universal-{model}-none", DataSet("universal", Network(M))),
        ("universal-{model}-pca", DataSet("universal", Network(M, "pca"))),
        ("universal-standard-none", DataSet("universal", Network("standard"))),
    ],
)
def test_the_data_set_that_plays_universal(template, dataset):
    assert Plan(changed({"experiments": {"universal": template}})).universal(M) == dataset


@pytest.mark.parametrize("experiment", ["robustness", "smoothing"])
def test_one_more_network_changes_no_job_of_the_others(experiment):
    """Adding a defence once measured all budgets and certificates again."""
    before = Plan(default())
    more = [*before[f"experiments.{experiment}.defences"], "downsample"]
    after = Plan(changed({"experiments": {experiment: {"defences": more}}}))
    assert before.protocol(experiment) == after.protocol(experiment)
    assert before.protocol(experiment)["draws"] == before[f"experiments.{experiment}.draws"]
    without = Plan(changed({"experiments": {"smoothing": None}}))
    assert without.protocol("smoothing") == {}
