"""The workflow on a real Slurm: a private cluster of two nodes, one with GPUs that Slurm believes.

Slurm's own records say what ran where and with what; the files must be those of a local run.
"""

import csv
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from test_profile import groups_shown, resources_shown
from test_workflow import SMALL

from conftest import ROOT

CLUSTER = ROOT / "tests/slurm/start-cluster.sh"

if not shutil.which("slurmctld"):
    pytest.skip("Slurm is not installed: see CONTRIBUTING.md", allow_module_level=True)
if os.geteuid() != 0:
    pytest.skip(
        "a private Slurm is reached through /etc/slurm: needs root", allow_module_level=True
    )

# Every rule that is sent to the cluster, and as few jobs as that takes.
CONFIG = SMALL | {"experiments": {"defences": ["none", "pca"], "noise_magnitudes": [0, 10]}}
MODEL = "efficientnet_lite0"
TARGETS = [
    "table_1",
    f"results/datasets/gradient-{MODEL}-pca.h5",
    f"results/scores/original/{MODEL}/sweep-noise.h5",
    "figure_9",
]
JOBS = {
    "images": 1, "defence": 1, "universal": 1, "perturbed": 1,
    "gradient": 1, "score": 3, "sweep": 1, "figure_9": 1,
}  # fmt: skip
ON_GPU = {"defence", "universal", "gradient", "score", "sweep"}
THREADS = 2


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The folder of a running cluster."""
    folder = tmp_path_factory.mktemp("cluster")
    started = subprocess.run([CLUSTER, "start", folder], capture_output=True, text=True, timeout=60)
    assert started.returncode == 0, started.stderr
    yield folder
    subprocess.run([CLUSTER, "stop", folder], check=True, timeout=60)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project: the command is typed in its root."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("workflow", "envs", "slurm"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".snakemake")
        )
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder)
    (folder / "small.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


def snakemake(folder, *arguments):
    """Run Snakemake in a folder; how many threads a job has shows in the last digits of sums."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    command += ["--configfile", "small.yaml", "--max-threads", str(THREADS)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    logs = "\n".join(f"== {path}\n{path.read_text()}" for path in folder.rglob("logs/**/*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    return done.stderr


def records():
    """What Slurm says of every job: the fields of scontrol by name, and rule, the rule's name."""
    result = subprocess.run(
        ["scontrol", "show", "job", "--oneliner"], capture_output=True, text=True, check=True
    )
    jobs = []
    for line in result.stdout.splitlines():
        if not line.startswith("JobId="):
            continue  # it says that there are none
        job = dict(re.findall(r"(\S+?)=(\S*)", line))
        # A group's name follows: its own, then those of its rules.
        rule = re.match(r"rule_(.+?)(?:_wildcards_|$)", job["Comment"]).group(1)
        # A network's scores that the same targets need are a job of a rule of its own.
        job["rule"] = "score" if rule.startswith("score_") else rule
        jobs.append(job)
    return jobs


@pytest.fixture(scope="module")
def jobs(cluster, project):
    """Slurm's records of the whole run."""
    before = {job["JobId"] for job in records()}
    # Two seconds in place of forty: a test's jobs are short.
    snakemake(
        project, *TARGETS, "--profile", "slurm", "--slurm-init-seconds-before-status-checks", "2"
    )
    return [job for job in records() if job["JobId"] not in before]


def test_each_heavy_job_is_one_of_slurms(jobs, cluster):
    rules = [job["rule"] for job in jobs]
    assert {rule: rules.count(rule) for rule in rules} == JOBS
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    completed = (cluster / "completed.txt").read_text()
    assert completed.count("JobState=COMPLETED") == len(records())


def test_jobs_ask_for_gpus_where_they_use_them(jobs):
    for job in jobs:
        gpu = job["rule"] in ON_GPU
        assert ("gres:gpu:1" in job.get("TresPerJob", "")) == gpu, job["rule"]
        if gpu:
            assert job["NodeList"] == "gpu1", job["rule"]


def test_jobs_ask_for_what_they_use(jobs, project):
    for job in jobs:
        assert int(job["NumCPUs"]) == 1, job["rule"]  # all are short
        assert job["TimeLimit"] != "1-00:00:00", "the partition's limit: none was asked for"
    asked = {job["rule"]: int(re.search(r"mem=(\d+)M", job["TRES"]).group(1)) for job in jobs}
    used = {"images": "images", "defence": "defences/pca", "sweep": "scores/**/sweep-noise"}
    used |= {"universal": "perturbations/universal-*", "gradient": "datasets/gradient-*"}
    for rule, benchmark in used.items():
        (path,) = project.glob(f"benchmarks/output/{benchmark}.tsv")
        with path.open() as file:
            (row,) = csv.DictReader(file, delimiter="\t")
        assert float(row["max_rss"]) < asked[rule] < 8000, rule


def test_a_job_has_the_gpu_and_the_threads_that_slurm_gave_it(jobs, project):
    def first_line(log):
        return (project / "logs" / log).read_text().splitlines()[0]

    assert re.fullmatch(r"on (cpu1|gpu1) \(.+\), threads: 1", first_line("images.log"))
    for log in ("defences/pca.log", f"scores/original/{MODEL}/none.log"):
        assert re.fullmatch(r"on gpu1 \(.+\), GPU [01], threads: 1", first_line(log))


def test_squeue_tells_runs_and_rules_apart(jobs):
    assert all(job["JobName"].startswith("advrob_") for job in jobs)
    assert len({job["JobName"] for job in jobs}) == 1
    comments = {job["Comment"] for job in jobs}
    assert f"rule_score_wildcards_original_{MODEL}_none" in comments


# A job that says where it runs, of a rule that the profile has resources for.
PLACE = """
rule score:
    output: "place.txt"
    threads: 2
    resources: gpu=1, mem_mb=500, runtime=5
    shell: "echo $SLURMD_NODENAME GPU $CUDA_VISIBLE_DEVICES > {output}"
"""


@pytest.mark.parametrize(
    ("braces", "asked"),
    [
        ('{gpu: 0, gres: "gpu:1"}', {"TresPerNode": "gres:gpu:1"}),
        ('{gpu: 0, gres: "gpu:pretended:1"}', {"TresPerNode": "gres:gpu:pretended:1"}),
        (
            """{gpu_model: pretended, constraint: fast, slurm_extra: "'--nice=100'"}""",
            {"TresPerJob": "gres:gpu:pretended:1", "Features": "fast", "Nice": "100"},
        ),
    ],
)
def test_a_job_has_the_gpu_that_its_site_wants_to_be_asked_for(braces, asked, cluster, tmp_path):
    """The marked line of the profile, as a user edits it."""
    before = {job["JobId"] for job in records()}
    (tmp_path / "slurm").mkdir()
    profile = (ROOT / "slurm/config.yaml").read_text()
    (tmp_path / "slurm/config.yaml").write_text(resources_shown(profile, braces))
    (tmp_path / "Snakefile").write_text(PLACE)
    (tmp_path / "small.yaml").write_text("{}")
    snakemake(tmp_path, "--profile", "slurm", "--slurm-init-seconds-before-status-checks", "2")
    (job,) = [job for job in records() if job["JobId"] not in before]
    assert (job["rule"], job["JobState"], job["NumCPUs"]) == ("score", "COMPLETED", "2")
    assert {key: job.get(key) for key in asked} == asked
    requests = {"TresPerJob", "TresPerNode"}
    assert requests & job.keys() == requests & asked.keys()
    assert re.fullmatch(r"gpu1 GPU [01]\n", (tmp_path / "place.txt").read_text())


# Two attacks on one network and their controls, and the check-ups of two networks.
TOGETHER = """
rule all:
    input: "controls.txt", "checkup-a.txt", "checkup-b.txt"
rule attack:
    output: "attack-{name}.txt"
    resources: gpu=1, mem_mb=500, runtime=5
    shell: "echo $CUDA_VISIBLE_DEVICES $(date +%s) > {output}; sleep 1; date +%s >> {output}"
rule controls:
    input: "attack-a.txt", "attack-b.txt"
    output: "controls.txt"
    resources: gpu=1, mem_mb=500, runtime=5
    shell: "cat {input} > {output}"
rule checkup:
    output: "checkup-{name}.txt"
    resources: gpu=1, mem_mb=500, runtime=5
    shell: "echo > {output}"
"""


def test_attacks_on_a_network_are_one_submission_where_queues_are_long(cluster, tmp_path):
    """The hidden groups of the profile, as a user shows them."""
    before = {job["JobId"] for job in records()}
    (tmp_path / "slurm").mkdir()
    profile = (ROOT / "slurm/config.yaml").read_text()
    (tmp_path / "slurm/config.yaml").write_text(groups_shown(profile))
    (tmp_path / "Snakefile").write_text(TOGETHER)
    (tmp_path / "small.yaml").write_text("{}")
    snakemake(tmp_path, "--profile", "slurm", "--slurm-init-seconds-before-status-checks", "2")
    jobs = [job for job in records() if job["JobId"] not in before]
    limits = {job["rule"]: job["TimeLimit"] for job in jobs}
    assert limits == {"attacks_attack_controls": "00:15:00", "checkups_checkup": "00:10:00"}
    for job in jobs:
        assert "gres:gpu:1" in job["TresPerJob"] and "mem=500M" in job["TRES"]
    runs = [(tmp_path / f"attack-{name}.txt").read_text().split() for name in "ab"]
    first, second = sorted(runs, key=lambda run: run[1])
    assert first[0] == second[0], "on the same GPU"
    assert int(first[2]) <= int(second[1]), "in turn"


def test_results_are_those_of_a_local_run(jobs, project, tmp_path):
    shutil.copytree(
        project, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("results", ".*")
    )
    snakemake(tmp_path, *TARGETS, "--cores", str(THREADS))
    files = [path.relative_to(tmp_path) for path in (tmp_path / "results").rglob("*.*")]
    assert len(files) > 15
    for file in files:
        assert (project / file).read_bytes() == (tmp_path / file).read_bytes(), file
