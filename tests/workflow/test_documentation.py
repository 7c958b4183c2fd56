"""What the documentation tells users to do works, and what it points to is there."""

import os
import re
import shutil
import subprocess
import sys
import tomllib

import h5py
import pytest
import yaml

from advrob.plan.kinds import SORTS
from advrob.plan.kinds import kinds as plan_kinds
from advrob.plan.plan import Plan
from conftest import ROOT, block
from plan.configurations import changed

README = (ROOT / "README.md").read_text()
RUNNING = (ROOT / "docs/running.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# The README's plug-ins in a table, with as little work as possible.
TINY = {
    "images": {"test": {"crops": 1}, "fit": {"crops": 1}},
    "perturbations": {"universal": {"images": 8, "passes": 1}},
}
MODEL = "efficientnet_lite0"


def run(*command, folder):
    environment = os.environ | {"PYTHONPATH": str(folder / "workflow/scripts")}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def snakemake(command, *more, folder):
    """Run a command of the README, and the tiny configuration over its own."""
    name, *arguments = command.split()
    assert name == ".venv/bin/snakemake"
    return run("-m", "snakemake", *arguments, "tiny.yaml", *more, folder=folder)


def with_plug_in(name, kind, folder, page=README):
    """A copy of the workflow with a page's plug-in, and its entry in a file of its own."""
    for part in ("workflow", "envs"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / part, folder)
    file = f"workflow/scripts/advrob/{kind}/{name}.py"
    assert f"`{file}`" in page
    (folder / file).write_text(block(page, file))
    (folder / f"{name}.yaml").write_text(block(page, f"`{name}.yaml`"))
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return folder


def inputs_of(rule, planned):
    """The files that a rule's job reads, by the output of a dry run."""
    (names,) = re.findall(rf"^(?:local)?rule {rule}:\n    input: (.*)$", planned, re.MULTILINE)
    return set(names.split(", "))


def test_the_defence_of_the_readme_is_scored(tmp_path):
    folder = with_plug_in("flip", "defences", tmp_path)
    planned = snakemake(block(README, "\nThen\n"), "--dry-run", folder=folder)
    original = f"results/scores/original/{MODEL}/flip.h5"
    universal = f"results/scores/universal-{MODEL}-none/{MODEL}/flip.h5"
    assert {original, universal} <= inputs_of("table_1", planned)
    assert f"results/scores/pgd-{MODEL}-flip/{MODEL}/flip.h5" in inputs_of(
        "table_robustness", planned
    )
    assert "results/robustness.html" in planned
    # Minutes: of the demonstration's models none is trained, and no other defence is fitted.
    assert not re.search("^rule (train|defence|gan|certify):", planned, re.MULTILINE)
    alone = f".venv/bin/snakemake --cores 1 {original} --configfile flip.yaml"
    snakemake(alone, folder=folder)
    with h5py.File(folder / original) as file:
        # Photographs are as easy to recognise in a mirror.
        assert len(file["correct"]) == 20
        assert file["correct"][:].mean() >= 0.7


def test_the_attack_of_the_readme_is_part_of_the_evaluation(tmp_path):
    folder = with_plug_in("fgsm", "attacks", tmp_path)
    planned = snakemake(block(README, "\nAfter\n"), "--dry-run", folder=folder)
    # Against the model alone and, adaptively, against each network.
    own = {name for name in inputs_of("table_robustness", planned) if "/fgsm-" in name}
    assert own == {
        f"results/scores/fgsm-{MODEL}-none/{MODEL}/none.h5",
        f"results/scores/fgsm-{MODEL}-none/{MODEL}/noise.h5",
        f"results/scores/fgsm-{MODEL}-noise/{MODEL}/noise.h5",
    }
    score = f"results/scores/fgsm-{MODEL}-none/{MODEL}/none.h5"
    snakemake(f".venv/bin/snakemake --cores 1 {score} --configfile fgsm.yaml", folder=folder)
    with h5py.File(folder / f"results/datasets/fgsm-{MODEL}-none.h5") as file:
        attacked, ids, distances = file["images"][:], file["ids"][:], file["distances"][:]
    with h5py.File(folder / "results/images/test.h5") as file:
        original = dict(zip(file["ids"][:], file["images"][:], strict=True))
    moved = [
        int(abs(image.astype(int) - original[name]).max())
        for name, image in zip(ids, attacked, strict=True)
    ]
    assert moved == distances.tolist()
    # What the network gets wrong anyway stays as it is.
    assert set(moved) <= {0, 4}
    assert moved.count(4) >= 14
    with h5py.File(folder / score) as file:
        assert file["correct"][:].mean() <= 0.5


@pytest.mark.parametrize(
    ("sort", "name", "rule", "output"),
    [
        ("universal", "signs", "universal", f"perturbations/universal-{MODEL}-none.h5"),
        ("lesson", "smoothed", "train", "models/smoothed.h5"),
        ("model", "pooled", "score", "scores/original/linear/none.h5"),
    ],
)
def test_the_other_plug_ins_are_planned(tmp_path, sort, name, rule, output):
    page = (ROOT / "docs/plug-ins.md").read_text()
    folder = with_plug_in(name, SORTS[sort].folder, tmp_path, page)
    (folder / "linear.pt").touch()
    command = f".venv/bin/snakemake --dry-run --cores 1 results/{output} --configfile {name}.yaml"
    planned = snakemake(command, folder=folder)
    assert re.search(f"^rule {rule}:", planned, re.MULTILINE)
    module = f"from advrob.plug_ins import load; load('{sort}', '{name}')"
    assert run("-c", module, folder=folder) == ""


def test_the_readmes_networks_and_photographs_are_valid(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = yaml.safe_load(block(README, "## Your own network"))
    weights = tmp_path / "weights.safetensors"
    weights.touch()
    network["models"]["mine"]["weights"] = str(weights)
    assert Plan(changed(network)).models == ["mine", "robust"]
    photographs = yaml.safe_load(block(README, "## Your own photographs"))
    plan = Plan(changed(photographs))
    assert plan["images.test"] == {"table": "labels.csv", "crops": 1}
    assert plan["images.note"] is None


def test_the_readme_takes_five_minutes():
    assert len(README.split()) < 1000
    assert len(first_column(README, "| command | makes |")) == 5


def test_the_picture_shows_the_stages(tmp_path):
    (command,) = re.findall(r"`(snakemake [^`]*--rulegraph dot)", README)
    snakefile = ["--snakefile", str(ROOT / "Snakefile")]
    drawn = run("-m", *command.split(), *snakefile, folder=tmp_path)
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', drawn))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", drawn)}
    picture = (ROOT / "docs/images/stages.svg").read_text()
    nodes = re.findall(r"<title>(\d+)</title>.*?<text[^>]*>(\w+)</text>", picture, re.DOTALL)
    picture_names = dict(nodes)
    pairs = re.findall(r"<title>(\d+)&#45;&gt;(\d+)</title>", picture)
    assert {(picture_names[a], picture_names[b]) for a, b in pairs} == edges
    assert ("score", "table_1") in edges


def test_the_example_of_the_library_prints_what_it_says():
    text = (ROOT / "docs/library.md").read_text()
    example = block(text, "<!-- example -->")
    assert len([line for line in example.splitlines() if line]) <= 20
    # On a slow machine attacks print their progress in between.
    printed = re.findall(r"^.+: \d+% .+$", run("-c", example, folder=ROOT), re.MULTILINE)
    documented = block(text, "\nprints\n").splitlines()
    assert [line.partition(":")[0] for line in printed] == [
        line.partition(":")[0] for line in documented
    ]
    for mine, theirs in zip(printed, documented, strict=True):
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


@pytest.mark.parametrize("page", [README, RUNNING], ids=["README", "running"])
def test_the_documented_targets_exist(page):
    commands = first_column(page, "| command | makes |")
    rules = "\n".join(
        path.read_text()
        for path in [ROOT / "workflow/Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
    )
    rule_names = set(
        re.findall(r"^\s*(?:use rule \w+ as|rule) (\w+)(?::| with:)", rules, re.MULTILINE)
    )
    targets = [word for command in commands for word in command.split()[1:]]
    targets = [word for word in targets if re.fullmatch(r"[a-z]\w+", word) and word != "slurm"]
    assert len(targets) >= 3
    assert not set(targets) - rule_names


def test_the_kinds_in_the_tables_exist():
    """The configuration's page, which is generated, has all of them; these pages introduce some."""
    for sort, page in (("attack", "attacks"), ("defence", "defences")):
        kinds = first_column((ROOT / f"docs/{page}.md").read_text(), "| kind |")
        assert len(kinds) == len(set(kinds)) >= 7
        assert set(kinds) <= plan_kinds(sort).keys()


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    # What the format requires.
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Liang", "Hayes", "Althoff"]


def test_the_catalogue_entry_names_what_works():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["software-stack-deployment"]["conda"]


def test_pictures_are_small():
    for path in (ROOT / "docs/images").iterdir():
        assert path.stat().st_size < 150_000
