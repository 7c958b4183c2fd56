"""What the documentation tells users to do works, and what it points to is there."""

import csv
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml

from conftest import ROOT, block

README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# The README's defence in a table, with as little work as possible.
TINY = {
    "images": {"test": {"crops": 1}, "fit": {"crops": 1}},
    "perturbations": {"universal": {"images": 8, "passes": 1}},
}


def run(*command, folder):
    environment = os.environ | {"PYTHONPATH": str(folder / "workflow/scripts")}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_defence_of_the_readme_has_its_row(tmp_path):
    for name in ("workflow", "envs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    (file,) = re.findall(r"`(workflow/\S+/flip\.py)`", README)
    (tmp_path / file).write_text(block(README, file))
    (tmp_path / "flip.yaml").write_text(block(README, "`flip.yaml`"))
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    command = block(README, "\nThen\n").split()
    assert command[0] == ".venv/bin/snakemake"
    command.remove("robustness")
    run("-m", "snakemake", *command[1:], "tiny.yaml", folder=tmp_path)
    with (tmp_path / "results/tables/table_1.csv").open(newline="") as table:
        rows = {(row["dataset"], row["defence"]): row for row in csv.DictReader(table)}
    universal = "universal-efficientnet_lite0-none"
    assert list(rows) == [
        (dataset, defence) for dataset in ("original", universal) for defence in ("none", "flip")
    ]
    found = rows["original", "flip"]
    # Photographs are as easy to recognise in a mirror.
    assert int(found["n"]) == 20
    assert float(found["accuracy"]) >= 0.7


def test_the_example_of_the_library_prints_what_it_says():
    text = (ROOT / "docs/library.md").read_text()
    example = block(text, "<!-- example -->")
    assert len([line for line in example.splitlines() if line]) <= 20
    # On a slow machine attacks tell their progress in between.
    found = re.findall(r"^.+: \d+% .+$", run("-c", example, folder=ROOT), re.MULTILINE)
    told = block(text, "\nprints\n").splitlines()
    assert [line.partition(":")[0] for line in found] == [line.partition(":")[0] for line in told]
    for mine, theirs in zip(found, told, strict=True):
        # Other hardware rounds otherwise, and may so decide a photograph or two.
        share, other = (float(re.search(r": (\d+)%", line).group(1)) for line in (mine, theirs))
        assert share == pytest.approx(other, abs=15)


def anchors(page):
    """The names by which the headings of a page can be linked to."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def first_column(text, header):
    """The commands in the first column of a table."""
    rows = text[text.index(header) :].partition("\n\n")[0].splitlines()[2:]
    return [re.match(r"\| `([^`]+)`", row).group(1) for row in rows]


def test_the_targets_of_the_readme_exist():
    table = first_column(README, "| command | makes |")
    rules = "\n".join(
        path.read_text() for path in [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
    )
    known = set(re.findall(r"^\s*(?:use rule \w+ as|rule) (\w+)(?::| with:)", rules, re.MULTILINE))
    targets = [word for command in table for word in command.split()[1:]]
    targets = [word for word in targets if re.fullmatch(r"[a-z]\w+", word) and word != "slurm"]
    assert len(targets) >= 10
    assert not set(targets) - known


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    # What the format requires.
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Liang", "Hayes", "Althoff"]


def test_the_catalog_is_told_what_works():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["software-stack-deployment"]["conda"]


def test_pictures_are_small():
    for path in (ROOT / "docs/images").iterdir():
        assert path.stat().st_size < 150_000
