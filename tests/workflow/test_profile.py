"""The profile for Slurm: what a user edits, and what must not be in it."""

import re

import pytest
import yaml

from conftest import ROOT

PROFILE = ROOT / "slurm/config.yaml"


def rules():
    """The text of each rule by its name."""
    texts = {}
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        heads = r"^ *(?:use rule (\w+) as|rule) (\w+)(?: with)?:"
        # Rules of several scores are made in a loop, as is that of one.
        content = re.sub(r"rule:\n +name:\s+BATCH\.name", "rule score:", file.read_text())
        _, *parts = re.split(heads, content, flags=re.MULTILINE)
        for base, name, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            # Resources and parameters are inherited.
            texts[name] = texts.get(base, "") + text
    return texts


def test_two_lines_are_to_be_edited():
    text = PROFILE.read_text()
    marked = re.search(r"# Edit these two lines: -+\n(.*?)  # -+\n", text, re.DOTALL).group(1)
    assert list(yaml.safe_load(marked)) == ["slurm_account", "slurm_partition"]
    assert len(marked.splitlines()) == 2
    defaults = yaml.safe_load(text)["default-resources"]
    assert defaults["slurm_account"] == defaults["slurm_partition"] == "", "the cluster's defaults"


def test_the_profile_does_not_limit_the_clusters_processors():
    profile = yaml.safe_load(PROFILE.read_text())
    assert profile["executor"] == "slurm"
    assert "cores" not in profile


def shown(profile, key):
    """The profile up to a hidden part that begins with this key, that part shown, and the rest."""
    start = profile.index(f"# {key}:")
    hidden, gap, rest = profile[start:].partition("\n\n")
    return profile[:start], re.sub("^# ?", "", hidden, flags=re.MULTILINE), gap + rest


def groups_shown(profile):
    """The profile with the hidden groups shown."""
    return "".join(shown(profile, "groups"))


def resources_shown(profile, braces):
    """The profile with the hidden resources of GPU jobs shown, and others in the marked braces."""
    before, resources, after = shown(profile, "set-resources")
    marked = r"\{.*\}(?=  # edit this line)"
    assert len(re.findall(marked, resources)) == 1
    return before + re.sub(marked, lambda _: braces, resources) + after


WAYS = {
    "slurm_partition: gpu": {"slurm_partition": "gpu"},
    'gpu: 0, gres: "gpu:1"': {"gpu": 0, "gres": "gpu:1"},
    "gpu_model: a100": {"gpu_model": "a100"},
    "constraint: a100": {"constraint": "a100"},
}


@pytest.mark.parametrize("way", WAYS)
def test_how_a_gpu_is_asked_for_is_said_for_all_rules_that_use_one(way):
    text = PROFILE.read_text()
    assert f"#   {way} " in text
    resources = yaml.safe_load(resources_shown(text, f"{{{way}}}"))["set-resources"]
    assert set(resources) == {rule for rule, text in rules().items() if "gpu=GPUS" in text}
    assert all(value == WAYS[way] for value in resources.values())


def test_jobs_that_go_together_take_turns_and_all_use_a_gpu():
    """Strings such as the partition must be the same for all jobs of a group."""
    profile = yaml.safe_load(groups_shown(PROFILE.read_text()))
    assert all("gpu=GPUS" in rules()[rule] for rule in profile["groups"])
    assert profile["default-resources"]["turn"] == profile["resources"]["turn"] == 1
    assert set(profile["group-components"]) <= set(profile["groups"].values())


def test_no_rule_computes_on_a_gpu_without_asking_for_one():
    for rule, text in rules().items():
        if 'device=PLAN["device"]' in text:
            assert "gpu=GPUS" in text, rule
            assert "localrule" not in text, rule
