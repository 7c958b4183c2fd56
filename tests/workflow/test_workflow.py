"""The workflow as users run it: dry runs of every target, then all of it on a small real set."""

import csv
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass

import h5py
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from conftest import ROOT

MODEL = "efficientnet_lite0"
TABLES = [f"table_{number}" for number in (1, 2, 3)]
FIGURES = [f"figure_{number}" for number in range(1, 13)]
SPACE = ["table_vector_space", "figure_vector_space"]

# Small enough for a minute or two; everything else is the default configuration.
SMALL = {
    "batch_size": 8,
    "images": {"test": {"crops": 1}, "fit": {"crops": 1}},
    "models": {
        name: {"train": {"images": 16, "batch_size": 8}}
        for name in ("standard", "adversarial", "gan", "multitask")
    },
    "defences": {
        "pca": {"variance": 0.95},
        "autoencoder": {"hidden": 16, "epochs": 1},
        "conv_autoencoder": {"epochs": 1},
        "dncnn": {"features": 4, "blocks": 1, "epochs": 1},
    },
    "perturbations": {
        "universal": {
            "method": "deepfool",
            "images": 24,
            "passes": 1,
            "classes": 3,
            "steps": 3,
        },
        "gradient": {"radius": 4, "iterations": 4},
        "gan": {"images": 24, "epochs": 4, "batch_size": 4},
        "untargeted": {
            "pgd": {"iterations": 2},
            "pgd_l2": {"iterations": 2},
            "apgd_ce": {"iterations": 3},
            "apgd_dlr": {"iterations": 3},
            "square": {"queries": 3},
        },
    },
    "experiments": {
        "noise_magnitudes": [0, 10, 40],
        "fit_images": [13, 26],
        "vector_space": {"images": 6, "normals": 2},
        "draws": 2,
        "calibration": {"images": 8, "size": 16},
        "preventive": {"models": ["gan", "multitask"]},
        "robustness": {
            "images": 6,
            "draws": 2,
            "radii": [0, 8, 64],
            "iterations": 3,
            "efforts": [1, 3],
        },
    },
}


# Two jobs at a time, for most of a small job is its start, which has one thread.
CORES = ["--cores", 2]


# Those of one job, for the same tables and figures need both.
PCA_SCORES = ("original", "universal-efficientnet_lite0-none")


def snakemake(folder, *arguments, workflow=ROOT):
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(workflow / "Snakefile")]
    command += ["--directory", str(folder), *map(str, arguments)]
    # Before an installed library, which is that of the root.
    environment = os.environ | {"PYTHONPATH": str(workflow / "workflow/scripts")}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with the default configuration and a smaller one beside it."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copy(ROOT / "config.yaml", folder)
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    return folder


@dataclass
class Graph:
    """The jobs that Snakemake plans.

    Attributes:
        labels: of the jobs, by number: a rule's name and those of its wildcards that it chooses.
        needs: the jobs that a job waits for.
    """

    labels: dict[int, str]
    needs: dict[int, set[int]]

    def jobs(self, label):
        """The numbers of the only job with a label and of all that it needs."""
        numbers = set()
        waiting = [job for job, other in self.labels.items() if other == label]
        assert len(waiting) == 1, f"{label}: {len(waiting)} jobs among {self.labels.values()}"
        while waiting:
            job = waiting.pop()
            if job not in numbers:
                numbers.add(job)
                waiting += self.needs[job]
        return numbers

    def planned(self, label):
        """How many of these jobs each rule has, without rules that only collect."""
        rules = Counter(self.labels[job].partition(r"\n")[0] for job in self.jobs(label))
        return {rule: count for rule, count in rules.items() if rule not in COLLECTING}


# Rules that only collect what others make.
COLLECTING = ("all", "robustness", "tables", "figures")


def graph(folder, *arguments):
    """One dry run, each score a job: what each of several targets needs is a part of its graph."""
    if "--config" not in arguments:
        arguments += ("--config", "scores_per_job=one")
    done = snakemake(folder, *arguments, "--dag")
    assert done.returncode == 0, done.stdout + done.stderr
    labels = re.findall(r'^\s*(\d+)\[label = "(.*?)", color', done.stdout, re.MULTILINE)
    edges = re.findall(r"^\s*(\d+) -> (\d+)$", done.stdout, re.MULTILINE)
    jobs = Graph({int(job): label for job, label in labels}, {int(job): set() for job, _ in labels})
    for needed, job in edges:
        jobs.needs[int(job)].add(int(needed))
    return jobs


IMAGES = {"images": 1}
UNIVERSAL = IMAGES | {"universal": 1, "perturbed": 1}
ANALYSIS = UNIVERSAL | {"original": 1, "gradient": 1, "defence": 3, "vector_space": 1}
CERTIFICATES = IMAGES | {"original": 1, "defence": 1, "certify_model": 1, "certify": 1}
ATTACKS = {"gradient": 2, "universal": 2, "attack": 10}
# Original images and all attacks on a model and on it behind noise, scored behind noise.
TRIES = IMAGES | ATTACKS | {"original": 1, "perturbed": 2, "score": 15}
EXPECTED = {
    "figure_budget": IMAGES | {"budget": 2, "figure_budget": 1},
    "robustness": IMAGES
    | ATTACKS
    | {"original": 1, "perturbed": 2, "controls": 2, "budget": 2, "score": 23}
    | {"checkup": 2, "table_robustness": 1, "figure_budget": 1}
    | {"calibration": 1, "table_calibration": 1, "table_tries": 1, "figure_tries": 1},
    "table_tries": TRIES | {"table_tries": 1},
    "figure_tries": TRIES | {"figure_tries": 1},
    "table_calibration": IMAGES | {"calibration": 1, "table_calibration": 1},
    "table_1": UNIVERSAL | {"original": 1, "defence": 3, "score": 12, "table_1": 1},
    "table_certified": CERTIFICATES | {"table_certified": 1},
    "figure_certified": CERTIFICATES | {"figure_certified": 1},
    "table_2": IMAGES | {"gradient": 3, "defence": 1, "score": 6, "table_2": 1},
    "table_3": UNIVERSAL | {"original": 1, "score": 4, "table_3": 1},
    "table_comparisons": UNIVERSAL
    | {"original": 1, "gradient": 3, "defence": 3, "score": 19, "table_comparisons": 1},
    "replication": UNIVERSAL
    | {"original": 1, "gradient": 3, "defence": 6, "train": 4, "score": 33, "replication": 1},
    "figure_fit_images": UNIVERSAL
    | {"original": 1, "defence": 4, "score": 8, "figure_fit_images": 1},
    "figure_1": {"figure_1": 1},
    "figure_2": {"figure_2": 1},
    "figure_3": {"figure_3": 1},
    "figure_4": IMAGES | {"universal": 1, "figure_4": 1},
    "figure_5": UNIVERSAL | {"original": 1, "score": 2, "figure_5": 1},
    "figure_6": IMAGES | {"original": 1, "gradient": 1, "score": 2, "figure_6": 1},
    "figure_7": IMAGES | {"defence": 3, "figure_7": 1},
    "figure_8": UNIVERSAL | {"original": 1, "score": 4, "figure_8": 1},
    "figure_9": UNIVERSAL | {"original": 1, "defence": 1, "score": 4, "figure_9": 1},
    "figure_10": UNIVERSAL | {"original": 1, "score": 4, "figure_10": 1},
    "figure_11": IMAGES | {"original": 1, "sweep": 1, "score": 1, "figure_11": 1},
    "figure_12": UNIVERSAL | {"sweep": 1, "score": 1, "figure_12": 1},
    "table_preventive": IMAGES
    | {"original": 1, "train": 4, "universal": 5, "perturbed": 5, "gan": 1, "generated": 1}
    | {"gradient": 4, "score": 20, "table_preventive": 1},
    "figure_training": IMAGES | {"train": 4, "figure_training": 1},
    "figure_gan": IMAGES | {"original": 1, "gan": 1, "generated": 1, "score": 2, "figure_gan": 1},
    "table_vector_space": ANALYSIS | {"table_vector_space": 1},
    "figure_vector_space": ANALYSIS | {"figure_vector_space": 1},
}


@pytest.fixture(scope="module")
def every(folder):
    """The graph of all targets."""
    return graph(folder, "all", "report", *EXPECTED)


@pytest.mark.parametrize("target", EXPECTED)
def test_a_target_needs_what_it_needs_and_nothing_more(every, target):
    assert every.planned(target) == EXPECTED[target]


def test_all_is_every_table_and_figure(every):
    others = ("table_comparisons", "replication", "figure_fit_images", "robustness")
    others += ("table_preventive", "figure_gan", "figure_training", "table_certified")
    others += ("figure_certified", "table_calibration", "table_tries", "figure_tries")
    needed = set.union(*(every.jobs(name) for name in (*TABLES, *FIGURES, *SPACE, *others)))
    collecting = {job for job, label in every.labels.items() if label in COLLECTING}
    page = every.jobs("report")
    assert every.jobs("all") - collecting == page == needed - collecting | {max(page - needed)}


def test_one_target_alone_needs_what_it_needs_among_all(folder):
    assert graph(folder, "table_2").planned("table_2") == EXPECTED["table_2"]


def test_scores_that_the_same_targets_need_are_one_job(folder, every):
    """Other jobs are the same, and no target has a score that it does not need."""
    together = graph(folder, "all", "report", *EXPECTED, "--config", "scores_per_job=several")

    def without_scores(jobs):
        return sorted(label for label in jobs.labels.values() if not label.startswith("score"))

    assert without_scores(together) == without_scores(every)
    assert len(together.labels) < len(every.labels) - 35
    planned = together.planned("table_1")
    # Each defence on original and perturbed images; figures 11 and 12 part the two of none.
    assert sum(count for rule, count in planned.items() if rule.startswith("score")) == 5 + 2
    # What a profile sets for the rule score holds.
    table = ("table_1", "--config", "scores_per_job=several")
    for option in (("--set-resources", "score:gres=gpu:1"), ("--set-threads", "score=2")):
        assert graph(folder, *table, *option).planned("table_1")["score"] == 12


def test_shards_are_more_jobs_and_what_gathers_them(folder):
    sharded = graph(folder, "table_2", "figure_11", "--config", "shards=3")
    assert sharded.planned("table_2") == {
        "images": 3,
        "gather_images": 1,
        "gradient": 9,
        "defence": 1,
        "score": 18,
        "gather": 9,
        "table_2": 1,
    }
    sweep = {"images": 3, "gather_images": 1, "original": 1, "sweep": 3, "score": 3, "gather": 2}
    assert sharded.planned("figure_11") == sweep | {"figure_11": 1}


TRANSFERRED = "results/export/perturbations/universal-other-none"


@pytest.fixture(scope="module")
def changed(folder):
    """The graph of a configuration with other experiments and another defence."""
    candidates = {"ratios": ["downsample", "downsample_75"]}
    change = {
        "experiments": {
            "settings": {"images": 9, "candidates": candidates},
            "fit_images": None,
            "transfer": [MODEL, "other"],
        },
        "models": {"other": {"kind": "torchvision", "architecture": "squeezenet1_1"}},
        "images": {"unseen": "imagenet_*"},
        "defences": {"both": {"kind": "chain", "defences": ["pca", "noise"]}},
    }
    (folder / "changed.yaml").write_text(yaml.safe_dump(change))
    chain = "results/scores/original/efficientnet_lite0/both.h5"
    targets = ("table_settings", "tables", "figures", "all", chain, TRANSFERRED)
    return graph(folder, *targets, "--configfile", folder / "changed.yaml")


def test_settings_are_compared_on_images_to_fit(changed):
    tuning = {"tuning": 1, "tuning_perturbed": 1, "score": 4, "table_settings": 1}
    assert changed.planned("table_settings") == IMAGES | {"universal": 1} | tuning


def test_without_numbers_of_images_nothing_is_fitted_to_them(changed):
    jobs = changed.planned("figures")
    # Those of the tables, and the denoiser of the certificates.
    assert jobs["defence"] == 4
    assert "figure_fit_images" not in jobs


def test_perturbations_are_tested_on_every_model_of_the_matrix(changed):
    jobs = IMAGES | {"universal": 2, "perturbed": 2, "original": 1, "score": 6}
    for target in ("table_transfer", "table_transfer_unseen", "figure_transfer"):
        assert changed.planned(target) == jobs | {target: 1}
        collecting = "figures" if target == "figure_transfer" else "tables"
        assert changed.jobs(target) <= changed.jobs(collecting)
        assert changed.jobs(target) <= changed.jobs("all")
    for target in ("table_transfer", "figure_transfer"):
        assert changed.jobs(target) <= changed.jobs("report")


def test_a_perturbation_for_others_needs_no_more_than_its_images(changed):
    (label,) = [label for label in changed.labels.values() if "export_perturbation" in label]
    assert changed.planned(label) == IMAGES | {"universal": 1, "export_perturbation": 1}


def test_without_random_defences_nobody_tries_again(folder):
    change = {"experiments": {"robustness": {"defences": ["none", "downsample"]}}}
    (folder / "calm.yaml").write_text(yaml.safe_dump(change))
    jobs = graph(folder, "robustness", "--configfile", folder / "calm.yaml").planned("robustness")
    assert jobs["score"] == 23
    assert not {"table_tries", "figure_tries"} & jobs.keys()


def test_a_chain_needs_what_its_members_learned(changed):
    (score,) = [label for label in changed.labels.values() if "defence: both" in label]
    assert changed.planned(score) == IMAGES | {"original": 1, "defence": 1, "score": 1}


def test_braces_in_a_note_and_in_a_pattern_are_no_wildcards(folder):
    texts = {"images": {"note": "{a} of {0}", "unseen": "{b}*"}}
    done = snakemake(folder, "-n", "table_1", "tables", "--configfile", write(folder, texts))
    assert done.returncode == 0, done.stdout + done.stderr


def test_jobs_ask_for_more_the_larger_their_files_are(folder, tmp_path):
    """Sizes are those of files, whatever is in them: these are holes."""
    shutil.copy(folder / "config.yaml", tmp_path)
    images, state = 2_000 * 3 * 224**2, 3_000_000_000
    files = {
        "images/test": images, "images/fit": images, "datasets/original": images,
        "defences/shared/pca": state, "defences/shared/autoencoder": state,
        "defences/shared/conv_autoencoder": 100_000,
    }  # fmt: skip
    for name, size in files.items():
        path = tmp_path / "results" / f"{name}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size)
    forced = ["defence", "universal", "gradient", "score", "sweep", "figure_7", "figure_9"]
    forced += ["vector_space", "certify_model", "attack", "controls", "budget"]
    forced += ["checkup", "calibration"]
    targets = ["all", "robustness", "--forcerun", *forced, "--config", "scores_per_job=one"]
    done = snakemake(tmp_path, "--dry-run", "--cores", 1, *targets)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = {}
    pattern = r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    resources: .*?mem_mb=(\d+)"
    for rule, memory in re.findall(pattern, done.stdout + done.stderr, re.MULTILINE):
        asked.setdefault(rule, set()).add(int(memory))
    assert set(forced) <= set(asked)
    assert max(asked["score"]) - min(asked["score"]) >= 2 * state / 10**6
    assert min(asked["figure_7"]) > 2 * 2 * state / 10**6


@pytest.mark.parametrize(
    ("config", "mistake"),
    [
        ({"defences": {"blurr": {}}}, "defences.blurr: 'blurr' is not a kind of defence"),
        ({"images": {"test": {"crop": 3}}}, "images.test.crop: is not a key of the configuration."),
    ],
)
def test_a_mistake_is_told_without_a_stack_trace(folder, config, mistake):
    done = snakemake(folder, "-n", "--configfile", write(folder, config))
    assert done.returncode != 0
    message = done.stdout + done.stderr
    assert mistake in message
    assert "Traceback" not in message
    assert len(message.splitlines()) <= 4


def write(folder, config):
    path = folder / "mistake.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def results(folder):
    done = snakemake(folder, *CORES, "--configfile", folder / "small.yaml")
    logs = "\n".join(
        f"== {path.relative_to(folder)}\n{path.read_text()}"
        for path in folder.rglob("logs/**/*.log")
    )
    assert done.returncode == 0, done.stdout + done.stderr + logs
    return folder / "results"


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


LITE = "efficientnet_lite0"
# One file of each kind of plug-in, and the first output of each job that computes with it.
COMPUTED_WITH = {
    "defences/downsample": {
        *(f"results/scores/original/{LITE}/{name}.h5" for name in ("downsample", "downsample_75")),
        f"results/analysis/vector_space/{LITE}.h5",
        "results/figures/figure_7.pdf",
    },
    "attacks/square": {
        *(f"results/datasets/square-{LITE}-{defence}.h5" for defence in ("none", "noise")),
        "results/calibration.json",
    },
    "attacks/universal/stochastic_gradient": set(),
    # Figures 3 and 7 draw the model that it makes.
    "training/multitask": {
        "results/models/multitask.h5",
        *(f"results/figures/figure_{number}.pdf" for number in (3, 7)),
    },
    "models/googlenet": set(),
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the workflow, with the files' own times: Snakemake compares those of scripts."""
    copy = tmp_path_factory.mktemp("copy") / "workflow"
    ignored = shutil.ignore_patterns("__pycache__", ".*", "shared", "results", "logs")
    shutil.copytree(ROOT, copy, ignore=ignored)
    return copy


@pytest.mark.parametrize("file", COMPUTED_WITH)
def test_an_edit_reruns_what_was_computed_with_the_file(results, copied, file):
    path = copied / f"workflow/scripts/advrob/{file}.py"
    text = path.read_text()
    path.write_text(text + "\nEDITED = 1\n")
    arguments = ("--dry-run", *CORES, "--configfile", results.parent / "small.yaml")
    done = snakemake(results.parent, *arguments, workflow=copied)
    path.write_text(text)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = re.findall(r"^(?:local)?rule \w+:\n(?:    .*\n)+", done.stdout, re.MULTILINE)
    reruns = {
        re.search("output: ([^,\n]*)", job)[1] for job in jobs if "Params have changed" in job
    }
    assert reruns == COMPUTED_WITH[file]


def test_all_tables_and_figures_are_there(results):
    for table in TABLES:
        assert (results / "tables" / f"{table}.csv").stat().st_size
        assert "paper" in (results / "tables" / f"{table}.md").read_text().lower()
    for figure in FIGURES:
        assert (results / "figures" / f"{figure}.pdf").read_bytes().startswith(b"%PDF")
        assert (results / "figures" / f"{figure}.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_has_all_that_is_marked_for_reports(results):
    page = (results / "report.html").read_text()
    marked = {
        (path.parent.name, path.stem)
        for folder, suffix in (("tables", "md"), ("figures", "png"))
        for path in (results / folder).glob(f"*.{suffix}")
    }
    assert len(marked) > 20
    on_page = set(re.findall(r'id="(tables|figures)-(\w+)"', page))
    assert on_page == marked - {("tables", "table_1")}, "table 1 has a section of its own"
    assert "Without a defence, efficientnet_lite0 classifies" in page
    assert "Intel" in page or "cores" in page
    for rule in ("images", "attack", "score", "original", "perturbed", "figure_8"):
        assert re.search(f"<td[^>]*>{rule}</td>", page), rule
    assert len(page) < 5 * 10**6
    assert "http" not in re.sub(r"base64,[^\"]*", "", page).split("<h3>Configuration")[0]


def test_the_analysis_of_image_space_covers_every_attack_and_defence(results):
    table = rows(results / "tables/vector_space.csv")
    defences = {row["where"] for row in table if row["measure"] == "retained"}
    assert defences == {row["defence"] for row in rows(results / "tables/table_1.csv")}
    left = {(row["where"], row["vectors"]): row for row in table if row["measure"] == "retained"}
    for attack in ("universal", "gradient", "random"):
        assert float(left["none", attack]["mean"]) == 1
        assert int(left["none", attack]["n"]) == 6
        assert float(left["pca", attack]["mean"]) < 0.5
    assert (results / "figures/vector_space.pdf").read_bytes().startswith(b"%PDF")


def test_table_1_says_what_the_scores_say(results):
    table = rows(results / "tables/table_1.csv")
    assert list(table[0]) == [
        "dataset", "model", "defence", "n", "correct", "accuracy", "ci_low", "ci_high"
    ]  # fmt: skip
    assert len(table) == 12
    for row in table:
        path = results / "scores" / row["dataset"] / row["model"] / f"{row['defence']}.h5"
        with h5py.File(path) as file:
            correct = file["correct"][:]
        assert int(row["n"]) == len(correct) == 20
        assert int(row["correct"]) == correct.sum()
        assert float(row["accuracy"]) == pytest.approx(correct.mean(), abs=1e-4)
        assert float(row["ci_low"]) <= correct.mean() <= float(row["ci_high"])
    control = next(r for r in table if (r["dataset"], r["defence"]) == ("original", "none"))
    assert int(control["correct"]) >= 16, "the pretrained network recognises real photographs"


def test_comparisons_say_what_table_1_says(results):
    accuracy = {
        (row["dataset"], row["defence"]): float(row["accuracy"])
        for row in rows(results / "tables/table_1.csv")
    }
    table = rows(results / "tables/table_comparisons.csv")
    # Five defences and a pair on two data sets; on images made against none two defences and a
    # pair, on those made against these one each; three pairs crosswise.
    assert len(table) == 2 * 6 + 3 + 2 + 3
    single = [row for row in table if (row["dataset"], row["defence"]) in accuracy]
    assert len(single) == 12
    for row in single:
        other = accuracy[row["other_dataset"], row["other_defence"]]
        gained = accuracy[row["dataset"], row["defence"]] - other
        assert float(row["difference"]) == pytest.approx(gained, abs=1e-5)
        assert float(row["ci_low"]) <= gained + 1e-5 <= float(row["ci_high"]) + 2e-5
        assert float(row["p"]) <= float(row["p_holm"]) <= 1


def test_certificates_are_bounded(results):
    # After a single epoch the denoiser may leave nothing to certify.
    assert (results / "certified/original/efficientnet_lite0/dncnn.h5").is_file()
    with h5py.File(results / "certified/original/efficientnet_lite0.h5") as file:
        sigmas, radius, counts = file["sigmas"][:], file["radius"][:], file["counts"][:]
        assert radius.shape == (1, 5)
        assert ((radius > 0) == (file["predicted"][:] >= 0)).all()
    assert counts.max() <= 100
    # Where all of 100 draws agree: the bound is 0.001^(1/100).
    assert radius.max() <= 1.501 * sigmas.max()
    assert (radius > 0).any()


def test_every_claim_has_a_verdict(results):
    table = rows(results / "tables/replication.csv")
    verdicts = {row["id"]: row["verdict"] for row in table}
    untested = [name for name, verdict in verdicts.items() if verdict == "not tested"]
    # The configuration has one model.
    assert untested == ["any_model", "worked", "figure_11", "figure_12", "preventive"]
    # Twenty photographs tell a lot of a difference of 70 points and nothing of one of 3.
    assert verdicts["pca_loses"] == "reproduced"
    assert verdicts["noise_cost"] == "undecided"


def test_preventive_models_are_compared_with_their_control(results):
    table = rows(results / "tables/table_preventive.csv")
    assert list(dict.fromkeys(row["model"] for row in table)) == [
        "standard", "gan", "multitask"
    ]  # fmt: skip
    by_role = {(row["model"], row["role"]): row for row in table}
    assert len(by_role) == len(table) == 3 * 5
    for (model, _), row in by_role.items():
        path = results / "scores" / row["dataset"] / model / "none.h5"
        with h5py.File(path) as file:
            assert float(row["accuracy"]) == pytest.approx(file["correct"][:].mean(), abs=1e-4)
        assert (row["p_holm"] == "") == (model == "standard")
    # One short epoch takes nothing away that the pretrained network knew.
    assert float(by_role["standard", "original"]["accuracy"]) >= 0.7
    curves = rows(results / "figures/figure_training.csv")
    assert {row["model"] for row in curves} == {model for model, _ in by_role}
    assert (results / "figures/figure_gan.pdf").read_bytes().startswith(b"%PDF")


def test_principal_components_of_more_images(results):
    growth = rows(results / "figures/figure_fit_images.csv")
    assert [int(row["images"]) for row in growth] == [13, 26, 52] * 2


def test_images_are_disjoint_and_attacks_keep_their_bounds(results):
    with h5py.File(results / "images/test.h5") as test, h5py.File(results / "images/fit.h5") as fit:
        original = test["images"][:].astype(int)
        assert not set(test["ids"][:]) & set(fit["ids"][:])
        labels = test["labels"][:]
    attacked = {
        path.stem: path
        for family in ("universal", "gradient", "gan")
        for path in (results / "datasets").glob(f"{family}-*.h5")
    }
    assert len(attacked) == 5 + 6 + 1
    for name, path in attacked.items():
        radius = 4 if name.startswith("gradient") else 10
        with h5py.File(path) as file:
            moved = np.abs(file["images"][:].astype(int) - original)
            np.testing.assert_array_equal(file["labels"][:], labels)
            if "targets" in file:
                assert (file["targets"][:] != labels).all()
        assert 0 < moved.max() <= radius, name


def test_robustness_is_what_the_scores_say_and_its_checks_are_listed(results):
    table = rows(results / "tables/table_robustness.csv")
    assert {row["n"] for row in table} == {"6"}
    attacks = {"universal", "gradient", "pgd", "pgd_l2", "apgd_ce", "apgd_dlr", "square"}
    worst = [row for row in table if row["attack"] == "worst case"]
    others = [row for row in table if row["attack"] != "worst case"]
    identities = {(row["defence"], row["knowledge"], row["attack"]) for row in others}
    assert len(identities) == len(others)
    # Made against the model alone, they know all of it where there is no defence.
    assert identities == {
        *((defence, "none", "original") for defence in ("none", "noise")),
        *((defence, "adaptive", name) for defence in ("none", "noise") for name in attacks),
        *(("noise", "matched", name) for name in attacks),
    }
    # One for each norm and radius, over all attacks that go no further.
    bounds = {(row["norm"], row["radius"]) for row in others if row["attack"] != "original"}
    assert {key for key, _ in bounds} == {"linf", "l2"}
    assert {(row["defence"], row["norm"], row["radius"]) for row in worst} == {
        (defence, *bound) for defence in ("none", "noise") for bound in bounds
    }
    for row in worst:
        within = [
            float(other["accuracy"])
            for other in others
            if other["defence"] == row["defence"]
            and (
                other["attack"] == "original"
                or (other["norm"] == row["norm"] and float(other["radius"]) <= float(row["radius"]))
            )
        ]
        assert float(row["accuracy"]) <= min(within)
        assert row["knowledge"] == "all"
        # Six images are too few for the best.
        assert row["grade"] in ("B", "C", "D")
    for path in (results / "datasets").glob("pgd_l2-*.h5"):
        with h5py.File(path) as file:
            assert 0 < file["distances"][:].max() <= 800
    checks = rows(results / "tables/checks.csv")
    names = {check["check"] for check in checks}
    assert {"stays in bounds", "beats signs", "falls to nothing", "has gradients"} <= names
    assert any(name.startswith("check-up: ") for name in names)
    assert {check["verdict"] for check in checks} <= {"passed", "noted", "not shown", "failed"}
    bounds = [check["passed"] for check in checks if check["check"] == "stays in bounds"]
    assert bounds == ["true"] * 2 * len(attacks)
    assert (results / "figures/figure_budget.pdf").read_bytes().startswith(b"%PDF")


def test_tries_are_of_the_scores_draws(results):
    table = rows(results / "tables/table_tries.csv")
    # In the order of the configuration file, whose keys are sorted.
    attacks = ["universal", "gradient", "apgd_ce", "apgd_dlr", "pgd", "pgd_l2", "square"]
    assert [(row["knowledge"], row["attack"]) for row in table] == [
        ("none", "original"),
        *(("matched", attack) for attack in attacks),
        *(("adaptive", attack) for attack in attacks),
    ]
    ids = None
    for row in table[::-1]:
        against = {"none": "", "matched": f"-{MODEL}-none", "adaptive": f"-{MODEL}-noise"}
        dataset = f"{row['attack']}{against[row['knowledge']]}"
        with h5py.File(results / "scores" / dataset / MODEL / "noise.h5") as file:
            names, draws = file["ids"][:].tolist(), file["draws"][:]
        ids = names if ids is None else ids
        draws = draws[:, [names.index(name) for name in ids]]
        assert (int(row["n"]), int(row["draws"])) == draws.shape[::-1] == (6, 2)
        for number, expected in (
            ("first", draws[0]), ("mean", draws), ("all", draws.all(axis=0)),
            ("majority", draws.mean(axis=0) > 0.5),
        ):  # fmt: skip
            assert float(row[f"accuracy_{number}"]) == pytest.approx(expected.mean(), abs=1e-6)
    curve = rows(results / "figures/figure_tries.csv")
    assert [row["tries"] for row in curve] == ["1", "2"] * 2
    assert float(curve[0]["accuracy"]) == min(float(row["accuracy_mean"]) for row in table)
    assert (results / "figures/figure_tries.pdf").read_bytes().startswith(b"%PDF")


def test_an_export_is_what_was_attacked_and_scored(folder, results):
    name = f"pgd-{MODEL}-noise"
    exported = results / "export" / name
    command = [f"results/export/{name}", *CORES, "--configfile", folder / "small.yaml"]
    done = snakemake(folder, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    saved = torch.load(exported / "images.pt", weights_only=True)
    with h5py.File(results / "datasets" / f"{name}.h5") as file:
        images, ids, labels = file["images"][:], file["ids"].asstr()[:], file["labels"][:]
    with h5py.File(results / "scores" / name / MODEL / "noise.h5") as file:
        predicted = file["predicted"][:]
    stored = torch.from_numpy(images).permute(0, 3, 1, 2)
    assert torch.equal(saved["adv_complete"], stored.float() / 255)
    assert saved["labels"].tolist() == labels.tolist()
    table = rows(exported / "ids.csv")
    assert [(row["id"], int(row["label"]), int(row["predicted"])) for row in table] == list(
        zip(ids, labels, predicted, strict=True)
    )
    for row, image in zip(table, images, strict=True):
        np.testing.assert_array_equal(Image.open(exported / row["file"]), image)
    again = snakemake(folder, *command)
    assert "Nothing to be done" in again.stdout + again.stderr
    shutil.rmtree(exported.parent)


def test_a_second_run_has_nothing_to_do(folder, results):
    done = snakemake(folder, *CORES, "--configfile", folder / "small.yaml")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_the_same_seed_gives_the_same_bytes(folder, results):
    targets = [
        "results/images/fit.h5",
        "results/perturbations/universal-efficientnet_lite0-none.h5",
        "results/datasets/gradient-efficientnet_lite0-noise.h5",
        "results/scores/original/efficientnet_lite0/noise.h5",
        # Scored in one job before, and now each in its own.
        *(f"results/scores/{dataset}/efficientnet_lite0/pca.h5" for dataset in PCA_SCORES),
        "results/figures/figure_11.pdf",
        "results/figures/figure_11.png",
    ]
    before = {target: (folder / target).read_bytes() for target in targets}
    forced = ["images", "universal", "gradient", "score", "figure_11"]
    options = ("--configfile", folder / "small.yaml", "--config", "scores_per_job=one")
    done = snakemake(folder, *targets, *CORES, *options, "--forcerun", *forced)
    assert done.returncode == 0, done.stdout + done.stderr
    for target in targets:
        assert (folder / target).read_bytes() == before[target], target


def test_shards_give_the_same_bytes(results, tmp_path):
    shutil.copy(ROOT / "config.yaml", tmp_path)
    attacked = "datasets/gradient-efficientnet_lite0-noise.h5"
    scored = "scores/gradient-efficientnet_lite0-noise/efficientnet_lite0/noise.h5"
    small = results.parent / "small.yaml"
    done = snakemake(
        tmp_path, f"results/{scored}", *CORES, "--configfile", small, "--config", "shards=2"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in (attacked, scored):
        assert (tmp_path / "results" / name).read_bytes() == (results / name).read_bytes(), name
    with (
        h5py.File(tmp_path / "results/images/fit.h5") as file,
        h5py.File(results / "images/fit.h5") as whole,
    ):
        np.testing.assert_array_equal(file["images"][:], whole["images"][:])
    assert len(list((tmp_path / "results").rglob("*-of-*"))) == 0, "shards are not kept"


def test_nothing_is_left_over(results):
    assert not [path for path in results.rglob(".*") if path.is_file()]
