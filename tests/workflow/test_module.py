"""The workflow as a module of another one, with a prefix and a configuration of its own."""

import re
import subprocess
import sys

import h5py
import pytest
import yaml

from conftest import ROOT, block

README = (ROOT / "README.md").read_text()
# What the README says that another workflow does, and rules of that.
OTHER = f"""
{block(README, "## In another workflow").replace("/path/to/deep-adversarial-robustness", str(ROOT))}

# Changing a rule has the Snakefile read once more.
use rule table_1 from advrob as advrob_table_1 with:
    log:
        "table_1.log"

rule summary:
    input:
        "robustness/results/figures/figure_2.pdf",
    output:
        "summary.txt",
    shell:
        "wc -c {{input}} > {{output}}"
"""
# Files that the user has, named relative to the working folder.
WEIGHTS, PERTURBATION = "mine/weights.safetensors", "mine/perturbation.npy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    for name in ("workflow", "mine"):
        (folder / name).mkdir()
    (folder / "workflow/Snakefile").write_text(OTHER)
    for name in (WEIGHTS, PERTURBATION):
        (folder / name).touch()
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["models"]["mine"] = {"kind": "googlenet", "weights": WEIGHTS}
    published = {"file": PERTURBATION, "norm": "linf", "radius": 10}
    config["perturbations"]["published"]["other"] = published
    config["images"]["fit"]["crops"] = 1
    config["experiments"]["defences"] = ["none", "pca"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def snakemake(folder, *arguments):
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--directory", str(folder)]
    command += ["--snakefile", str(folder / "workflow/Snakefile"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def files(output, directive):
    """The files that jobs of a dry run have under a directive."""
    lines = re.findall(rf"^    {directive}: (.*)$", output, re.MULTILINE)
    return {name for line in lines for name in line.split(", ")}


def test_only_files_of_the_module_get_the_prefix(folder):
    mine = ["scores/original/mine/none.h5", "perturbations/published-other.h5"]
    targets = ["advrob_all", *(f"robustness/results/{name}" for name in mine)]
    (folder / "shards.yaml").write_text("shards: 2")
    output = snakemake(folder, "--dry-run", *targets, "--configfile", "shards.yaml")
    written = files(output, "output")
    assert "robustness/results/tables/table_1.csv" in written
    assert "robustness/results/images/test/1-of-2.h5" in written
    assert all(name.startswith("robustness/") for name in written)
    # What is read was written: no path lacks the prefix, or has it twice. The rest is the user's,
    # or part of the workflow.
    read = {name for name in files(output, "input") if not name.startswith(str(ROOT))}
    assert read - written == {WEIGHTS, PERTURBATION}


def test_rules_of_both_run(folder):
    """A figure whose job is told in a parameter which file belongs to which defence, too."""
    images, figure = (
        f"robustness/results/{name}" for name in ("images/test.h5", "figures/figure_7.pdf")
    )
    snakemake(folder, "summary", images, figure)
    assert "figure_2.pdf" in (folder / "summary.txt").read_text()
    with h5py.File(folder / images) as file:
        assert len(file["images"]) == 60
    assert (folder / figure).read_bytes().startswith(b"%PDF")
    written = {path.name for path in folder.iterdir() if path.name[0] != "."}
    assert not written & {"results", "logs", "benchmarks"}
