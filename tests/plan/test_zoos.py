"""Architectures that timm and torchvision do not have are refused without importing either."""

import re

import pytest
from configurations import changed, refusal

from advrob.plan import zoos
from advrob.plan.plan import Plan

TYPOS = (
    ("timm", "resnet5O", "resnet50"),
    ("timm", "vit_bse_patch16_224.augreg_in1k", "vit_base_patch16_224"),
    ("torchvision", "resnt50", "resnet50"),
)


def entry(kind: str, architecture: str) -> dict[str, object]:
    return {"models": {"mine": {"kind": kind, "architecture": architecture}}}


@pytest.mark.parametrize(("kind", "typo", "meant"), TYPOS)
def test_an_unknown_architecture_is_reported_before_a_run(kind: str, typo: str, meant: str) -> None:
    name = typo.partition(".")[0]
    begin = rf"models\.mine\.architecture: {kind} has no '{name}'\. Nearest names: .*\b{meant}\b"
    assert re.match(begin, refusal(entry(kind, typo)))


def test_the_files_have_the_names_that_the_libraries_list() -> None:
    """Former names, too, which timm still takes."""
    import timm
    from timm.models import _registry
    from torchvision import models

    timms = zoos.architectures("timm")
    assert set(timms) == set(timm.list_models())
    assert set(zoos.architectures("torchvision")) == set(models.list_models(module=models))
    for former in [*_registry._deprecated_models, "resnet50.a1_in1k"]:
        Plan(changed(entry("timm", former)))


def test_a_library_that_is_not_installed_here_is_left_to_the_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zoos, "packaged", lambda *_: None)
    zoos.sources.cache_clear()
    try:
        Plan(changed(entry("timm", "resnet5O")))
    finally:
        zoos.sources.cache_clear()
