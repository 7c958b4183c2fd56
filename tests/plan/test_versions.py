"""An edit changes the versions of the jobs that it can change, and of no others."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from configurations import default
from snakemake.utils import update_config

from advrob.plan import versions
from advrob.plan.names import Network
from advrob.plan.plan import Plan
from advrob.plan.versions import SCRIPTS, code_version, imported_modules

LITE, GOOGLENET = "models.efficientnet_lite0", "models.googlenet"
# Jobs by name: a script and the plug-ins of its job, as the rules name them.
JOBS = {
    "score noise": ("score", "defences.noise", LITE),
    "score pca": ("score", "defences.pca", LITE),
    "score googlenet": ("score", "defences.none", GOOGLENET),
    "defence pca": ("defence", "defences.pca"),
    "pgd": ("attack", "defences.none", LITE, "attacks.pgd"),
    "square": ("attack", "defences.none", LITE, "attacks.square"),
    "universal deepfool": ("universal", "defences.none", LITE, "attacks.universal.deepfool"),
    "universal ascent": (
        "universal",
        "defences.none",
        LITE,
        "attacks.universal.stochastic_gradient",
    ),
    "train standard": ("train", "defences.none", LITE, "training.standard"),
    "train multitask": ("train", "defences.none", LITE, "training.multitask"),
    "train gan": ("train", "defences.none", LITE, "training.gan"),
    "gan": ("gan", "defences.none", LITE),
    "images": ("images",),
    "published": ("published",),
    "table 1": ("table", "findings.tables"),
}
# An edit: code at a file's end.
END, CODE = "", "\nEDITED = 1\n"
NETWORKS = set(JOBS) - {"defence pca", "images", "published", "table 1"}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """A copy of the scripts and the library."""
    copy = tmp_path_factory.mktemp("workflow") / "scripts"
    shutil.copytree(SCRIPTS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def all_versions(scripts: Path) -> dict[str, str]:
    return {name: code_version(*job, scripts=scripts) for name, job in JOBS.items()}


def changes(scripts: Path, file: str, old: str, new: str) -> set[str]:
    """The jobs whose version changes with an edit of a file, which is taken back."""
    path = scripts / file
    text, before = path.read_text(encoding="utf-8"), all_versions(scripts)
    assert old in text
    try:
        _write(path, text.replace(old, new, 1) if old else text + new)
        after = all_versions(scripts)
    finally:
        _write(path, text)
    assert all_versions(scripts) == before
    return {name for name in JOBS if before[name] != after[name]}


def _write(path: Path, text: str) -> None:
    """As at a later time than before, however coarse the file system's clock."""
    later = path.stat().st_mtime_ns + 10**9
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(later, later))


# What can change a result ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new", "jobs"),
    [
        # One of each sort of plug-in.
        ("advrob/defences/noise.py", "images + noise", "images - noise", {"score noise"}),
        ("advrob/defences/pca.py", END, CODE, {"defence pca", "score pca"}),
        ("advrob/attacks/square.py", "SHARE = 0.8", "SHARE = 0.7", {"square"}),
        (
            "advrob/attacks/universal/stochastic_gradient.py",
            "= 9.0",
            "= 8.0",
            {"universal ascent"},
        ),
        (
            "advrob/attacks/universal/deepfool.py",
            "= 0.02",
            "= 0.03",
            {"universal deepfool"},
        ),
        ("advrob/training/multitask.py", "TURNS = 4", "TURNS = 3", {"train multitask"}),
        (
            "advrob/training/gan.py",
            "SMALLEST = 7",
            "SMALLEST = 8",
            # The perturbations are made by the lesson's generator.
            {"train gan", "gan"},
        ),
        ("advrob/models/googlenet.py", END, CODE, {"score googlenet"}),
        (
            "advrob/models/efficientnet_lite0.py",
            "EPSILON = 1e-3",
            "EPSILON = 1e-5",
            NETWORKS - {"score googlenet"},
        ),
        # What several share.
        ("advrob/models/__init__.py", "UNKNOWN = -1e4", "UNKNOWN = -1e5", NETWORKS),
        (
            "advrob/attacks/universal/search.py",
            END,
            CODE,
            {"universal deepfool", "universal ascent"},
        ),
        ("advrob/files/schemas.py", '"images/1"', '"images/2"', set(JOBS)),
        # What is needed for principal components is both planned and computed with.
        (
            "advrob/plan/components.py",
            "ITERATIONS = 2",
            "ITERATIONS = 3",
            {"defence pca", "score pca"},
        ),
        # A script.
        ("published.py", END, CODE, {"published"}),
        ("score.py", '"score"', '"scores"', {"score noise", "score pca", "score googlenet"}),
    ],
)
def test_an_edit_changes_what_it_can_change(scripts, file, old, new, jobs):
    assert changes(scripts, file, old, new) == jobs


def test_an_edit_to_pgd_changes_pgd_alone(scripts):
    old = "norm, self.radius, self.levels = norm, radius, levels"
    assert changes(scripts, "advrob/attacks/pgd.py", old, f"{old}; x = 1") == {"pgd"}


# What only a reader sees -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        # Comments and docstrings.
        ("advrob/defences/noise.py", "class ", "# A comment.\nclass "),
        ("advrob/defences/noise.py", '"""Additive noise', '"""Added noise'),
        ("advrob/defences/noise.py", '"""Add a fresh', '"""Add an old'),
        ("advrob/attacks/square.py", "Args:\n", "Arguments:\n"),
        # Messages.
        ("advrob/defences/noise.py", "expected minimum <= maximum.", "turn them."),
        ("advrob/evaluation/universal.py", 'f"universal perturbation by', 'f"perturbation by'),
        ("universal.py", "of others", "of other images"),
        ("score.py", 'log_start(f"score', 'log_start(f"scoring'),
        ("score.py", "is right on", "is right in"),
        ("advrob/attacks/square.py", '"queries, at most"', '"queries"'),
        ("advrob/attacks/universal/search.py", '"batches predicted"', '"predicted"'),
        # What runs a job.
        ("advrob/job/locks.py", "PATIENCE = 120.0", "PATIENCE = 60.0"),
        ("advrob/job/log.py", END, CODE),
        ("advrob/job/signals.py", "Ctrl-C", "Control-C"),
        ("advrob/job/disk.py", END, CODE),
        # What plans it.
        ("advrob/plan/needs.py", "MARGIN = 1.2", "MARGIN = 1.5"),
        ("advrob/plan/plan.py", END, CODE),
        ("advrob/plan/kinds.py", END, CODE),
        # What no job here has.
        ("advrob/defences/median.py", END, CODE),
        ("advrob/models/timm.py", END, CODE),
        ("advrob/figures/panels.py", END, CODE),
    ],
)
def test_an_edit_for_readers_changes_nothing(scripts, file, old, new):
    assert changes(scripts, file, old, new) == set()


def test_what_a_loop_says_is_no_part_of_its_code_but_what_it_runs_over_is(tmp_path):
    def version(loop: str) -> str:
        _write_script(tmp_path, f"for i in {loop}:\n    f(i)\n")
        return code_version("job", scripts=tmp_path)

    plain = version('progress(range(3), "rounds", 3)')
    assert version('progress(range(3), "turns", 4)') == plain == version("range(3)")
    assert version('progress(range(4), "rounds", 3)') != plain
    assert version('other(range(3), "rounds", 3)') != plain


def test_what_is_raised_counts_and_what_it_says_does_not(tmp_path):
    def version(line: str) -> str:
        _write_script(tmp_path, f"def f(x):\n    {line}\n")
        return code_version("job", scripts=tmp_path)

    plain = version('raise UserError("no")')
    assert version('raise UserError(f"not {x}") from None') == plain
    assert version('raise ValueError("no")') != plain


def test_what_main_returns_does_not_count_but_what_it_computes_does(tmp_path):
    def version(end: str, inner: str = "x") -> str:
        lines = ["def f():", f"    return {inner}", "with f() as file:", f"    {end}"]
        _write_script(tmp_path, "def main(x):\n" + textwrap.indent("\n".join(lines), "    "))
        return code_version("job", scripts=tmp_path)

    assert version("return 'made'") == version("return f'{x} made'")
    assert version("return 'made'", inner="x + 1") != version("return 'made'")
    assert version("x = 1") != version("return 'made'")


def _write_script(folder: Path, text: str) -> None:
    file = folder / "job.py"
    file.touch()
    _write(file, text)


def test_a_plug_in_with_another_as_its_base_has_its_code_too(tmp_path):
    (tmp_path / "advrob/defences").mkdir(parents=True)
    (tmp_path / "job.py").write_text("import advrob.base\n")
    (tmp_path / "advrob/base.py").write_text("from . import sibling\nfrom .sibling import x\n")
    (tmp_path / "advrob/sibling.py").write_text("x = 1\n")
    (tmp_path / "advrob/defences/a.py").write_text("from advrob.defences.b import B\n")
    (tmp_path / "advrob/defences/b.py").write_text("from advrob.defences.a import A\n")
    files = imported_modules("job", "defences.a", scripts=tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path in files]
    assert names == [
        "advrob/base.py",
        "advrob/defences/a.py",
        "advrob/defences/b.py",
        "advrob/sibling.py",
        "job.py",
    ]


def test_the_plan_names_the_modules_of_a_network():
    config = default()
    config["defences"]["both"] = {"kind": "chain", "defences": ["downsample", "noise"]}
    plan = Plan(config)
    modules = ["defences.chain", "defences.downsample", "defences.noise", LITE]
    network = Network("standard", "both")
    assert plan.modules(network) == modules
    assert plan.code("table") == code_version("table")
    code, _, description = plan.code("score", network).partition("-")
    assert code == code_version("score", *modules)
    assert plan.code("attack", network, modules=["attacks.pgd"]) == (
        f"{code_version('attack', *modules, 'attacks.pgd')}-{description}"
    )


@pytest.mark.parametrize(
    ("changes", "network", "differs"),
    [
        ({"defences": {"noise": {"maximum": 11}}}, Network("standard", "both"), True),
        ({"defences": {"noise": {"maximum": 11}}}, Network("standard", "noise"), True),
        ({"models": {"standard": {"train": {"epochs": 2}}}}, Network("standard"), True),
        ({"models": {"efficientnet_lite0": {"size": 192}}}, Network("standard"), True),
        ({"defences": {"noise": {"maximum": 11}}}, Network("standard", "downsample"), False),
        ({"models": {"standard": {"train": {"epochs": 2}}}}, Network("gan"), False),
        ({"seed": 3, "images_root": "elsewhere"}, Network("standard", "both"), False),
    ],
)
def test_another_setting_of_a_network_is_another_version(changes, network, differs):
    """Snakemake does not compare a rule's description of a network, which names input files."""
    config = default()
    config["defences"]["both"] = {"kind": "chain", "defences": ["downsample", "noise"]}
    before = Plan(config).code("score", network)
    update_config(config, changes)
    assert (Plan(config).code("score", network) != before) is differs


def test_moved_scripts_have_the_same_versions(scripts):
    """So a checkout in another folder reruns nothing."""
    assert {name: code_version(*job) for name, job in JOBS.items()} == all_versions(scripts)
    assert versions.WITHOUT_EFFECT[0] == "advrob/plan/"


def test_summaries_of_files_are_read_again_where_they_are_still_right(tmp_path):
    home = tmp_path / "home"
    program = "from advrob.plan import versions; print(versions.code_version('score'))"

    def version():
        environment = os.environ | {"HOME": str(home)}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        return done.stdout

    first = version()
    (cache,) = home.rglob("versions.json")
    saved = cache.read_text()
    assert (version(), cache.read_text()) == (first, saved)
    # Made by another version of the module, or damaged: read anew, and written again.
    for content in (saved.replace('"maker": "', '"maker": "x'), "{", "[]", '{"maker": 1}'):
        cache.write_text(content)
        assert version() == first
        assert cache.read_text() == saved
    # A home that cannot be written to changes nothing.
    cache.unlink()
    cache.parent.rmdir()
    cache.parent.write_text("a file in its place")
    assert version() == first
