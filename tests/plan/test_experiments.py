"""Which cells each table and figure needs, of the default configuration and of presets."""

from collections import Counter

import pytest
from configurations import changed, default, preset

from advrob.plan import experiments
from advrob.plan.names import Cell, DataSet, Knowledge, Network
from advrob.plan.plan import Plan

M = "efficientnet_lite0"
UNIVERSAL = DataSet("universal", Network(M))


@pytest.fixture(scope="module")
def plan():
    return Plan(default())


def score(path: str) -> str:
    return f"results/scores/{path}.h5"


@pytest.mark.parametrize(
    ("experiment", "count", "examples"),
    [
        ("table_1", 12, [f"original/{M}/pca", f"universal-{M}-none/{M}/conv_autoencoder"]),
        ("table_2", 6, [f"gradient-{M}-pca/{M}/noise", f"gradient-{M}-noise/{M}/pca"]),
        ("table_3", 4, [f"original/{M}/downsample_75", f"universal-{M}-none/{M}/downsample"]),
        # Table 1's cells have the undefended network; table 2's get it beside each of the others.
        ("comparisons", 12 + 7, [f"gradient-{M}-pca/{M}/none", f"gradient-{M}-pca/{M}/noise"]),
        ("fit_images", 8, [f"original/{M}/pca_50", f"universal-{M}-none/{M}/pca"]),
        # 12 + 6 + 4 + 8, downsample and pca twice in both columns; three networks on images made
        # against themselves, and four trained models.
        (
            "replication",
            26 + 3 + 4,
            [f"universal-{M}-none/{M}/pca_200", f"gradient-{M}-none/{M}/pca"],
        ),
        # Original images, 7 attacks on the model, 7 on the model behind noise.
        (
            "robustness",
            (1 + 7) + (1 + 7 + 7),
            [f"square-{M}-noise/{M}/noise", f"pgd-{M}-none/{M}/noise"],
        ),
        ("tries", 1 + 7 + 7, [f"original/{M}/noise", f"square-{M}-noise/{M}/noise"]),
        ("transfer", 0, []),
        ("settings", 0, []),
        ("preventive", 4 * 5, [f"gan-{M}-none/multitask/none", "gradient-gan-none/gan/none"]),
    ],
)
def test_the_cells_of_the_default(plan, experiment, count, examples):
    cells = getattr(experiments, experiment)(plan)
    paths = [cell.path for cell in cells]
    assert len(paths) == count
    assert {score(example) for example in examples} <= {*paths}
    # No cell is needed twice for one place.
    assert max(Counter((cell.dataset, cell.network) for cell in cells).values(), default=1) == 1


def test_the_cells_of_table_2_are_pairs_and_their_mirrors(plan):
    assert [
        (cell.dataset.target.defence, cell.network.defence) for cell in experiments.table_2(plan)
    ] == [
        ("none", "noise"),
        ("noise", "none"),
        ("none", "pca"),
        ("pca", "none"),
        ("noise", "pca"),
        ("pca", "noise"),
    ]


def test_the_cells_of_table_1_are_in_the_order_of_the_configuration(plan):
    cells = experiments.table_1(plan)
    assert [cell.network.defence for cell in cells] == 2 * default()["experiments"]["defences"]
    assert [cell.dataset for cell in cells] == 6 * [DataSet()] + 6 * [UNIVERSAL]


def test_the_figure_of_images_to_fit_ascends(plan):
    cells = experiments.fit_images(plan)
    assert [cell.network.defence for cell in cells] == 2 * ["pca_50", "pca_100", "pca_200", "pca"]


def test_robustness_covers_all_that_an_attacker_may_know(plan):
    cells = experiments.robustness(plan)
    counts = Counter(
        (cell.network.defence, cell.dataset.knowledge_of(cell.network)) for cell in cells
    )
    assert counts == {
        ("none", Knowledge.NONE): 1,
        ("none", Knowledge.ADAPTIVE): 7,
        ("noise", Knowledge.NONE): 1,
        ("noise", Knowledge.MATCHED): 7,
        ("noise", Knowledge.ADAPTIVE): 7,
    }
    assert experiments.robust_networks(plan) == [Network(M), Network(M, "noise")]
    attacks = ["universal", "gradient", "pgd", "pgd_l2", "apgd_ce", "apgd_dlr", "square"]
    assert [data.family for data in experiments.attacked(plan, Network(M))] == attacks


@pytest.mark.parametrize(
    "change",
    ["experiments: {draws: 1}", "experiments: {robustness: {defences: [none, downsample]}}"],
)
def test_without_several_draws_there_are_no_tries(change):
    assert experiments.tries(Plan(changed(change))) == []


def test_an_export_has_predictions_of_the_network_that_was_attacked(plan):
    predicted_by = {
        name: experiments.export(plan, name).path
        for name in ("original", "tuning", "published-vgg", f"pgd-{M}-noise", "gan-gan-none")
    }
    assert predicted_by == {
        "original": score(f"original/{M}/none"),
        "tuning": score(f"tuning/{M}/none"),
        "published-vgg": score(f"published-vgg/{M}/none"),
        f"pgd-{M}-noise": score(f"pgd-{M}-noise/{M}/noise"),
        "gan-gan-none": score("gan-gan-none/gan/none"),
    }
    with pytest.raises(ValueError, match="'pgd' is not a data set"):
        experiments.export(plan, "pgd")


def test_preventive_models_have_roles(plan):
    assert experiments.compared_models(plan) == ["standard", "adversarial", "gan", "multitask"]
    assert experiments.preventive_base(plan) == M
    network = Network("adversarial")
    cells = [cell for cell in experiments.preventive(plan) if cell.network == network]
    assert cells == [
        Cell(DataSet(), network, "original"),
        Cell(UNIVERSAL, network, "static universal"),
        Cell(DataSet("gan", Network(M)), network, "static gan"),
        Cell(DataSet("universal", network), network, "own universal"),
        Cell(DataSet("gradient", network), network, "own gradient"),
    ]


def test_without_preventive_models_there_are_no_cells():
    plan = Plan(changed("experiments: {preventive: null}"))
    assert experiments.preventive(plan) == experiments.compared_models(plan) == []
    assert experiments.preventive_base(plan) is None


def test_without_numbers_of_images_the_claims_need_fewer_cells():
    plan = Plan(changed("experiments: {fit_images: null}"))
    # 12 + 6 + 4, downsample twice in both columns, and the others as before.
    assert len(experiments.replication(plan)) == 20 + 3 + 4


def test_every_model_is_tested_on_the_perturbation_of_every_other():
    """Models that no other table has are among them."""
    plan = Plan(
        changed("models: {s: {kind: torchvision, architecture: squeezenet1_1}}")
        | {"experiments": default()["experiments"] | {"transfer": ["s", M]}}
    )
    assert plan.models == [M]
    assert [cell.path for cell in experiments.transfer(plan)] == [
        score("original/s/none"),
        score(f"original/{M}/none"),
        score("universal-s-none/s/none"),
        score(f"universal-s-none/{M}/none"),
        score(f"universal-{M}-none/s/none"),
        score(f"universal-{M}-none/{M}/none"),
    ]
    assert not any(cell.network.model == "s" for cell in experiments.table_1(plan))


def test_candidates_are_scored_outside_the_test_set():
    plan = Plan(
        changed(
            "defences: {loud: {kind: noise, minimum: -40, maximum: 40}}\n"
            "experiments: {settings: {images: 9, candidates: {noise: [noise, loud]}}}"
        )
    )
    assert [cell.path for cell in experiments.settings(plan)] == [
        score(f"tuning/{M}/noise"),
        score(f"tuning-universal-{M}-none/{M}/noise"),
        score(f"tuning/{M}/loud"),
        score(f"tuning-universal-{M}-none/{M}/loud"),
    ]


def test_a_published_perturbation_plays_universal(tmp_path):
    file = tmp_path / "vgg.mat"
    file.touch()
    plan = Plan(
        changed(
            {
                "perturbations": {
                    "published": {"vgg": {"file": str(file), "norm": "linf", "radius": 10}}
                },
                "experiments": {"universal": "published-vgg"},
            }
        )
    )
    datasets = {cell.dataset for cell in experiments.table_1(plan)}
    assert datasets == {DataSet(), DataSet("published", label="vgg")}


def test_the_sweeps_are_over_undefended_models(plan):
    for attacked, dataset in ((False, DataSet()), (True, UNIVERSAL)):
        assert experiments.figure_sweep(plan, attacked=attacked) == [Cell(dataset, Network(M))]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        (
            "imagenette",
            {
                "table_1": 12,
                "table_2": 6,
                "fit_images": 10,
                # For none 1 + 8, for each of five others 1 + 8 + 8, for a trained model 1 + 8.
                "robustness": 9 + 5 * 17 + 9,
                # Six models behind none and downsample, five cells each.
                "preventive": 60,
                # Four and three candidates on two data sets.
                "settings": 14,
            },
        ),
        ("imagenet", {"table_1": 12, "fit_images": 8, "preventive": 0, "settings": 0}),
    ],
)
def test_the_cells_of_presets(name, counts, tmp_path, monkeypatch):
    plan = Plan(preset(name, tmp_path, monkeypatch))
    assert {key: len(getattr(experiments, key)(plan)) for key in counts} == counts


def test_attacks_among_real_values_are_named():
    assert experiments.real_valued(Plan(default())) == []
    entry = "{kind: apgd, norm: l2, radius: 30, levels: null}"
    plan = Plan(changed(f"perturbations: {{untargeted: {{real: {entry}}}}}"))
    named = [dataset.name for dataset in experiments.real_valued(plan)]
    assert named == [f"real-{M}-none", f"real-{M}-noise"]


def test_trained_models_are_attacked_without_a_defence():
    plan = Plan(changed("experiments: {robustness: {trained: [multitask]}}"))
    assert experiments.robust_networks(plan)[2:] == [Network("multitask")]
    cells = [str(cell.dataset) for cell in experiments.robustness(plan)[-8:]]
    assert cells[0] == "original"
    assert {"apgd_ce-multitask-none", "universal-multitask-none"} < set(cells)
