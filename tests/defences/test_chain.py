"""Chains: in order, with their members' states, and known to the workflow by their names."""

import pytest
import torch
import yaml
from test_defences import make, photographs

from advrob import defences, networks
from advrob.job.compute import generator
from advrob.plan.errors import ConfigurationError
from advrob.plan.names import Network
from advrob.plan.plan import Plan
from conftest import ROOT

MEMBERS = {
    "small": {"kind": "downsample", "ratio": 0.5},
    "patch_pca": {"patch": 4, "variance": 0.9},
    "both": {"kind": "chain", "defences": ["patch_pca", "small", "pca"]},
}


def plan(**entries) -> Plan:
    """The default configuration with further defences."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    return Plan(config | {"defences": config["defences"] | MEMBERS | entries})


@pytest.fixture
def images():
    return torch.from_numpy(photographs(3)).permute(0, 3, 1, 2).float() / 255


def test_members_follow_each_other():
    small = defences.build("downsample", {"ratio": 0.5})
    coarse = defences.build("bit_depth", {"bits": 1})
    images = torch.rand(2, 3, 8, 8, generator=generator(0, "images"))
    chain = defences.build("chain", {"defences": [coarse, small]})
    torch.testing.assert_close(chain(images), small(coarse(images)), rtol=0, atol=0)
    assert (chain(images) - coarse(small(images))).abs().max() > 0.1
    assert not chain.stochastic
    assert defences.build(
        "chain", {"defences": [small, defences.build("resize_pad", {})]}
    ).stochastic


def test_members_get_their_own_states(images, tmp_path):
    """In order, past the member that has none."""
    members = {kind: make(kind, tmp_path) for kind in ("pca", "patch_pca")}
    small = defences.build("downsample", {"ratio": 0.5})
    described = plan().describe(Network("efficientnet_lite0", "both"))
    described["learned"] = {f"defence {kind}": str(tmp_path / f"{kind}.h5") for kind in members}
    chain = networks.build_defence(
        described,
        generator=generator(0, "chain"),
        device=torch.device("cpu"),
    )
    expected = members["pca"](small(members["patch_pca"](images)))
    torch.testing.assert_close(chain(images), expected, rtol=0, atol=0)


def test_a_job_is_told_all_of_a_chain():
    chain_plan = plan()
    network = Network("efficientnet_lite0", "both")
    assert chain_plan.members("small") == ["small"]
    assert chain_plan.defence_settings("small") == chain_plan["defences.small"]
    files = ["results/defences/shared/patch_pca.h5", "results/defences/shared/pca.h5"]
    assert chain_plan.learned_files(network) == files
    # A workflow that imports this one may put them into a folder.
    described = chain_plan.describe(network, [f"robustness/{file}" for file in files])
    assert described["members"] == ["patch_pca", "small", "pca"]
    assert described["learned"] == {
        "defence patch_pca": f"robustness/{files[0]}",
        "defence pca": f"robustness/{files[1]}",
    }
    kinds = [entry["kind"] for entry in described["defence_settings"]["defences"]]
    assert kinds == ["patch_pca", "downsample", "pca"]
    entry = described["defence_settings"]["defences"][1]
    assert entry == {"kind": "downsample"} | chain_plan["defences.small"]
    modules = [f"defences.{kind}" for kind in ("chain", "patch_pca", "downsample", "pca")]
    assert chain_plan.modules(network)[:-1] == modules
    assert not chain_plan.is_fitted("both")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (["smal"], "defences.both.defences: 'smal' is not a defence .* Did you mean 'small'"),
        (["both"], "'both' is not a defence that can be a member"),
    ],
)
def test_members_that_do_not_exist_are_refused(members, message):
    with pytest.raises(ConfigurationError, match=message):
        plan(both={"kind": "chain", "defences": members})
