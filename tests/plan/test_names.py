"""Names are composed and taken apart in one place, and say what an attacker knew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advrob.plan.names import (
    GAN,
    GRADIENT,
    ORIGINAL,
    PUBLISHED,
    TUNING,
    UNIVERSAL,
    Cell,
    DataSet,
    Knowledge,
    Network,
    dataset_file,
    defence_file,
    model_file,
)

# As the schema lets users choose them.
WORDS = st.from_regex(r"[a-z0-9_]+", fullmatch=True)
NETWORKS = st.builds(Network, WORDS, WORDS)
FAMILIES = st.one_of(st.sampled_from([UNIVERSAL, GRADIENT, GAN]), WORDS).filter(
    lambda family: family not in (ORIGINAL, PUBLISHED, TUNING)
)
DATASETS = st.one_of(
    st.builds(DataSet, tuning=st.booleans()),
    st.builds(DataSet, st.just(PUBLISHED), label=WORDS, tuning=st.booleans()),
    st.builds(DataSet, FAMILIES, NETWORKS, tuning=st.booleans()),
)


@given(dataset=DATASETS)
def test_what_is_composed_is_parsed(dataset):
    assert DataSet.parse(dataset.name) == dataset


@given(name=st.one_of(st.text(), st.lists(WORDS, min_size=1, max_size=5).map("-".join)))
def test_what_is_parsed_is_composed(name):
    try:
        dataset = DataSet.parse(name)
    except ValueError as error:
        assert f"'{name}' is not a data set. Expected " in str(error)
    else:
        assert dataset.name == str(dataset) == name


@given(first=DATASETS, second=DATASETS)
def test_different_data_sets_have_different_names(first, second):
    assert (first.name == second.name) == (first == second)


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        (DataSet(), "original"),
        (DataSet(tuning=True), "tuning"),
        (DataSet("universal", Network("m")), "universal-m-none"),
        (DataSet("pgd_l2", Network("m", "pca_50")), "pgd_l2-m-pca_50"),
        (DataSet("published", label="vgg_f"), "published-vgg_f"),
        (DataSet("universal", Network("m"), tuning=True), "tuning-universal-m-none"),
        (DataSet("published", label="vgg_f", tuning=True), "tuning-published-vgg_f"),
    ],
)
def test_names_of_data_sets(dataset, name):
    assert dataset.name == name
    assert dataset_file(dataset) == f"results/datasets/{name}.h5"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-",
        "--",
        "universal",
        "universal-m",
        "universal-m-",
        "universal--none",
        "-m-none",
        "universal-m-none-x",
        "original-m-none",
        "published",
        "published-",
        "published-m-none",
        "tuning-",
        "tuning-original",
        "tuning-tuning",
        "tuning-tuning-universal-m-none",
        "tuning-m-none",
    ],
)
def test_names_of_nothing(name):
    with pytest.raises(ValueError, match="is not a data set"):
        DataSet.parse(name)


def test_names_of_networks_and_files():
    network = Network("m", "pca")
    assert str(network) == "m/pca"
    assert str(Network("m")) == "m/none"
    assert network.undefended == Network("m") == Network("m").undefended
    cell = Cell(DataSet("universal", Network("m")), network, "any role")
    assert cell.path == "results/scores/universal-m-none/m/pca.h5"
    assert model_file("m") == "results/models/m.h5"
    assert defence_file("pca") == "results/defences/shared/pca.h5"


M, N = "m", "n"
BARE, DEFENDED, OTHER_DEFENCE = Network(M), Network(M, "pca"), Network(M, "noise")
OTHER, OTHER_DEFENDED = Network(N), Network(N, "pca")
EVERY = (BARE, DEFENDED, OTHER_DEFENCE, OTHER, OTHER_DEFENDED)


@pytest.mark.parametrize("family", [UNIVERSAL, GRADIENT, GAN, "pgd"])
@pytest.mark.parametrize(
    ("target", "answers"),
    [
        # A network that is attacked as it is: of the undefended model that is adaptive, too.
        (BARE, "adaptive matched matched transferred transferred"),
        (DEFENDED, "transferred adaptive transferred transferred transferred"),
        (OTHER_DEFENCE, "transferred transferred adaptive transferred transferred"),
        (OTHER, "transferred transferred transferred adaptive matched"),
        (OTHER_DEFENDED, "transferred transferred transferred transferred adaptive"),
    ],
)
@pytest.mark.parametrize("tuning", [False, True])
def test_what_an_attacker_knew(family, target, answers, tuning):
    dataset = DataSet(family, target, tuning=tuning)
    assert [dataset.knowledge_of(network) for network in EVERY] == [
        Knowledge(answer) for answer in answers.split()
    ]


@pytest.mark.parametrize("network", EVERY, ids=str)
def test_what_nobody_attacked_here(network):
    assert DataSet().knowledge_of(network) is Knowledge.NONE
    assert DataSet(tuning=True).knowledge_of(network) is Knowledge.NONE
    assert DataSet(PUBLISHED, label="vgg").knowledge_of(network) is Knowledge.PUBLISHED


@given(dataset=DATASETS, network=NETWORKS)
def test_there_is_one_answer_for_every_pair(dataset, network):
    """By the definition of each answer, of which exactly one holds."""
    target = dataset.target
    holds = {
        Knowledge.NONE: dataset.family == ORIGINAL,
        Knowledge.PUBLISHED: dataset.family == PUBLISHED,
        Knowledge.ADAPTIVE: target == network,
        Knowledge.MATCHED: target is not None
        and target.model == network.model
        and target.defence == "none" != network.defence,
        Knowledge.TRANSFERRED: target is not None
        and target != network
        and (target.model != network.model or target.defence != "none"),
    }
    assert [answer for answer, true in holds.items() if true] == [dataset.knowledge_of(network)]


@given(network=NETWORKS, family=FAMILIES)
def test_an_attack_on_a_network_itself_is_adaptive(network, family):
    assert DataSet(family, network).knowledge_of(network) is Knowledge.ADAPTIVE
