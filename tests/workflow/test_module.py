"""The workflow as a module of another one, with a prefix and a configuration of its own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
import yaml

from conftest import ROOT, block

README = (ROOT / "README.md").read_text()
# What the README says that another workflow does, in a folder with a space, and rules of that.
OURS = (
    block(README, "## In another workflow")
    .replace("/path/to/deep-adversarial-robustness", str(ROOT))
    .replace('"robustness"', '"my robustness"')
)
OTHER = f"""
{OURS}

# Changing a rule has the Snakefile read once more.
use rule table_1 from advrob as advrob_table_1 with:
    log:
        "table_1.log"

rule summary:
    input:
        "my robustness/results/figures/figure_2.pdf",
    output:
        "summary.txt",
    shell:
        "wc -c {{input:q}} > {{output}}"
"""
# Files that the user has, named relative to the working folder.
WEIGHTS, PERTURBATION = "mine/weights.safetensors", "mine/perturbation.npy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("another folder")
    for name in ("workflow", "mine"):
        (folder / name).mkdir()
    (folder / "workflow/Snakefile").write_text(OTHER)
    for name in (WEIGHTS, PERTURBATION):
        (folder / name).touch()
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["models"]["mine"] = {"kind": "googlenet", "weights": WEIGHTS}
    published = {"file": PERTURBATION, "norm": "linf", "radius": 10}
    config["perturbations"]["published"]["other"] = published
    config["images"]["fit"] = {"crops": 1}
    config["experiments"]["defences"] = ["none", "pca"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def snakemake(folder, *arguments, snakefile: Path | None = None, **environment):
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--directory", str(folder)]
    command += ["--snakefile", str(snakefile or folder / "workflow/Snakefile"), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=os.environ | environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def files(output, directive):
    """The files that jobs of a dry run have under a directive."""
    lines = re.findall(rf"^    {directive}: (.*)$", output, re.MULTILINE)
    return {name for line in lines for name in line.split(", ")}


def test_only_files_of_the_module_get_the_prefix(folder):
    mine = ["scores/original/mine/none.h5", "perturbations/published-other.h5"]
    targets = ["advrob_all", *(f"my robustness/results/{name}" for name in mine)]
    (folder / "shards.yaml").write_text("shards: 2")
    output = snakemake(folder, "--dry-run", *targets, "--configfile", "shards.yaml")
    written = files(output, "output")
    assert "my robustness/results/tables/table_1.csv" in written
    assert "my robustness/results/images/test/1-of-2.h5" in written
    assert all(name.startswith("my robustness/") for name in written)
    # What is read was written: no path lacks the prefix, or has it twice. The rest is the user's,
    # or part of the workflow.
    read = {name for name in files(output, "input") if not name.startswith(str(ROOT))}
    assert read <= written


def test_rules_of_both_run(folder):
    """A figure whose job is told in a parameter which file belongs to which defence, too."""
    images, figure = (
        f"my robustness/results/{name}" for name in ("images/test.h5", "figures/figure_7.pdf")
    )
    snakemake(folder, "summary", images, figure)
    assert "figure_2.pdf" in (folder / "summary.txt").read_text()
    with h5py.File(folder / images) as file:
        assert len(file["images"]) == 20
    assert (folder / figure).read_bytes().startswith(b"%PDF")
    written = {path.name for path in folder.iterdir() if path.name[0] != "."}
    assert not written & {"results", "logs", "benchmarks"}


def git(*arguments, folder):
    subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A git repository with a release of the workflow."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("workflow", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder)
    git("init", "--quiet", folder=folder)
    git("add", "--all", folder=folder)
    author = ["-c", "user.name=A", "-c", "user.email=a@b"]
    git(*author, "commit", "--quiet", "--message", "A release", folder=folder)
    git("tag", "v1", folder=folder)
    return folder


FROM_GIT = """
configfile: "config.yaml"

module advrob:
    snakefile: {source}
    config: config
    prefix: "robustness"

use rule * from advrob as advrob_*
"""


def plan_from_git(folder, source, *arguments, **environment):
    """The files that a dry run of the workflow from git would write for Table 1."""
    (folder / "Snakefile").write_text(FROM_GIT.format(source=source))
    shutil.copy(ROOT / "config.yaml", folder)
    output = snakemake(
        folder,
        "--dry-run",
        *arguments,
        "advrob_table_1",
        snakefile=folder / "Snakefile",
        **environment,
    )
    return files(output, "output")


def test_the_workflow_is_a_module_from_a_local_repository(repository, tmp_path):
    source = f'gitfile("{repository}", path="workflow/Snakefile", tag="v1")'
    # Snakemake 9 compares the dates of outputs and scripts, and fails if the latter are in git.
    triggers = ["--rerun-triggers", "mtime", "input", "params", "software-env", "--"]
    written = plan_from_git(tmp_path, source, *triggers)
    assert "robustness/results/tables/table_1.csv" in written
    assert all(name.startswith("robustness/") for name in written)


def test_the_workflow_is_a_module_from_a_hosting_service(repository, tmp_path):
    """Snakemake has a clone of the repository already, so nothing is asked of the service."""
    cache = tmp_path / "snakemake/snakemake/source-cache/snakemake-git-cache/github.com"
    cache.mkdir(parents=True)
    git("clone", "--quiet", "--bare", str(repository), "owner/name", folder=cache)
    source = 'github("owner/name", path="workflow/Snakefile", tag="v1")'
    written = plan_from_git(tmp_path, source, XDG_CACHE_HOME=str(tmp_path))
    assert "robustness/results/tables/table_1.csv" in written
    assert all(name.startswith("robustness/") for name in written)


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_both_snakefiles_run_everything_from_any_folder(tmp_path, snakefile):
    output = snakemake(tmp_path, "--dry-run", snakefile=ROOT / snakefile)
    assert {"results/report.html", "results/tables/table_1.csv"} <= files(output, "output")
