"""Chains: in order, with their members' states, and known to the workflow by their names."""

import pytest
import torch
from test_defences import make, photographs

from advrob import defences, networks
from advrob.job.compute import generator
from advrob.plan import configuration
from advrob.plan.configuration import ConfigurationError

CONFIG = {
    "defences": {
        "none": {},
        "small": {"kind": "downsample", "ratio": 0.5},
        "pca": {"variance": 0.9},
        "patch_pca": {"patch": 4, "variance": 0.9},
        "noise": {"minimum": -10, "maximum": 10},
        "both": {"kind": "chain", "defences": ["patch_pca", "small", "pca"]},
    }
}


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
    chain = networks.build_defence(
        "both",
        configuration.described(CONFIG, "both"),
        state=[str(tmp_path / f"{kind}.h5") for kind in ("patch_pca", "pca")],
        generator=generator(0, "chain"),
        device=torch.device("cpu"),
    )
    expected = members["pca"](small(members["patch_pca"](images)))
    torch.testing.assert_close(chain(images), expected, rtol=0, atol=0)


def test_a_job_is_told_all_of_a_chain():
    assert configuration.members(CONFIG, "both") == ["patch_pca", "small", "pca"]
    assert configuration.members(CONFIG, "small") == ["small"]
    assert configuration.described(CONFIG, "small") == CONFIG["defences"]["small"]
    assert configuration.described(CONFIG, "both") == {
        "kind": "chain",
        "defences": [
            {"kind": "patch_pca", "patch": 4, "variance": 0.9},
            {"kind": "downsample", "ratio": 0.5},
            {"kind": "pca", "variance": 0.9},
        ],
    }
    assert configuration.parts(CONFIG, "both") == [
        "defences.chain",
        "defences.patch_pca",
        "defences.downsample",
        "defences.pca",
    ]
    assert not configuration.is_fitted(CONFIG, "both")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (["smal"], "defences.both.defences: 'smal' is not a defence .* Did you mean 'small'"),
        (["both"], "'both' is not a defence that can be a member"),
    ],
)
def test_members_that_do_not_exist_are_refused(members, message):
    defences = CONFIG["defences"] | {"both": {"kind": "chain", "defences": members}}
    with pytest.raises(ConfigurationError, match=message):
        configuration._chains(defences)
