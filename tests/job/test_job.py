"""What a script's run does with the rule's values, its log and its errors."""

import io
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from advrob.attacks.apgd import AutoPGD
from advrob.attacks.deepfool import deepfool
from advrob.attacks.gradient import targeted
from advrob.attacks.pgd import PGD
from advrob.attacks.square import Square
from advrob.errors import UserError
from advrob.images.pixels import to_tensor
from advrob.job import compute, machine, record
from advrob.job import script as job
from advrob.job.progress import progress
from advrob.linear import linalg
from conftest import Named, NamedList

SCRIPTS = Path(job.__file__).parents[2]
LIBRARY = SCRIPTS / "advrob"


def test_a_main_gets_what_it_names(rule):
    seen = {}

    def main(*, images, scores, model, seed):
        seen.update(images=images, scores=scores, model=model, seed=seed)
        print("working")
        return "two of three"

    job.run(main)
    assert seen == {"images": "in.h5", "scores": "out.h5", "model": "m", "seed": 3}
    first, *lines = Path(rule.log[0]).read_text().splitlines()
    assert first.endswith(", threads: 1")
    assert lines[0] == "working"
    assert lines[-1].startswith("two of three (")


def test_a_checkpoint_belongs_to_all_that_the_rule_is_given(rule, tmp_path):
    source = tmp_path / "in.h5"
    source.write_text("a")
    rule.input, rule.output = NamedList(images=str(source)), NamedList(scores=f"{tmp_path}/out.h5")

    def name(**changes):
        rule.params = Named(seed=3, code="abc") | changes
        seen = []
        job.run(lambda *, seed, checkpoint: seen.append(checkpoint))
        return seen[0]

    first = name()
    assert first.parent == tmp_path
    assert name() == first
    assert len({first, name(seed=4), name(code="def")}) == 3
    source.write_text("other")
    assert name() != first


def test_a_record_says_whether_a_job_resumed(rule, tmp_path):
    rule.input, rule.output = NamedList(), NamedList(scores=f"{tmp_path}/out.h5")

    def main(*, checkpoint):
        resumed = checkpoint.exists()
        checkpoint.touch()
        if not resumed:
            raise UserError("cut")

    with pytest.raises(SystemExit):
        job.run(main)
    assert not record.read(rule.log[0]).resumed
    job.run(main)
    assert record.read(rule.log[0]).resumed


def test_a_users_mistake_is_one_sentence(rule, capfd):
    def main():
        raise UserError("config: found 1, expected 2.")

    with pytest.raises(SystemExit) as exit_:
        job.run(main)
    assert exit_.value.code == 1
    _, job_record, *lines = Path(rule.log[0]).read_text().splitlines()
    assert '"succeeded": false' in job_record
    assert lines == ["error: config: found 1, expected 2."]
    assert capfd.readouterr().err == "error: config: found 1, expected 2.\n"


@pytest.mark.parametrize(
    ("variables", "hardware"),
    [
        ({"SLURMD_NODENAME": "node7", "CUDA_VISIBLE_DEVICES": "2"}, "node7, GPU 2"),
        ({"SLURMD_NODENAME": "node7", "CUDA_VISIBLE_DEVICES": ""}, "node7, GPU none"),
        ({"SLURMD_NODENAME": "node7"}, "node7"),
        ({}, platform.node()),
    ],
)
def test_a_log_tells_where_its_job_ran(rule, monkeypatch, variables, hardware):
    for name in ("SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(machine, "machine", lambda: "a processor")
    job.run(lambda: None)
    node, _, gpu = hardware.partition(", ")
    expected = f"on {node} (a processor){gpu and ', ' + gpu}, threads: 1"
    assert Path(rule.log[0]).read_text().splitlines()[0] == expected


def test_a_machine_is_described_as_it_is():
    processor, cores, memory = machine.machine().rsplit(", ", 2)
    assert processor
    assert cores == f"{os.cpu_count()} cores"
    total = int(re.search(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text())[1])
    assert float(memory.removesuffix(" GB")) == pytest.approx(1024 * total / 1e9, abs=0.51)


THREADS = """
import json
from pathlib import Path

import numpy
import torch
from threadpoolctl import threadpool_info

from advrob.job import script as job

def main(*, counts):
    pools = [pool["num_threads"] for pool in threadpool_info()]
    Path(counts).write_text(json.dumps([torch.get_num_threads(), *pools]))

job.run(main)
"""


def test_libraries_use_the_threads_of_the_rule(tmp_path):
    """Not the machine's, and not what the surroundings say."""
    (tmp_path / "threads.py").write_text(THREADS)
    (tmp_path / "Snakefile").write_text(
        "rule:\n    output: counts='counts'\n    threads: 1\n    script: 'threads.py'\n"
    )
    surroundings = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "3")
    subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2"],
        cwd=tmp_path,
        env=os.environ | surroundings | {"PYTHONPATH": str(SCRIPTS)},
        check=True,
        capture_output=True,
    )
    counts = json.loads((tmp_path / "counts").read_text())
    assert len(counts) > 2
    assert set(counts) == {1}


def test_a_programmers_mistake_keeps_its_trace(rule):
    def main():
        return 1 / 0

    with pytest.raises(SystemExit):
        job.run(main)
    assert "ZeroDivisionError" in Path(rule.log[0]).read_text()


def defined(file: Path, name: str) -> Callable[..., Any]:
    """A function of a module in a file, that fails inside an installed package."""
    content = "import torch\n\n\ndef fail():\n    return torch.nn.functional.conv2d(1, 2)\n"
    code = {"__name__": name}
    exec(compile(content, str(file), "exec"), code)
    return code["fail"]


@pytest.mark.parametrize("file", [Path("/home/me/mine.py"), LIBRARY / "defences/noise.py"])
def test_what_fails_in_the_users_own_code_is_one_sentence_with_its_line(rule, file):
    with pytest.raises(SystemExit):
        job.run(lambda: defined(file, "mine")())
    *_, line = Path(rule.log[0]).read_text().splitlines()
    assert line.startswith("error: rule score: fails in a plug-in or your own code (TypeError")
    assert line.endswith(f" at {file}, line 5). Correct it there.")


@pytest.mark.parametrize(
    "file", [LIBRARY / "networks.py", LIBRARY / "attacks/bounds.py", Path("h5py/h5f.pyx")]
)
def test_what_fails_in_the_library_keeps_its_trace(rule, file):
    with pytest.raises(SystemExit):
        job.run(lambda: defined(file, "advrob")())
    assert "Traceback" in Path(rule.log[0]).read_text()


def test_random_numbers_belong_to_a_seed_and_an_identity():
    def draw(*identity):
        return torch.rand(3, generator=compute.generator(*identity)).tolist()

    assert draw(1, "a", 2) == draw(1, "a", 2)
    assert len({tuple(draw(*i)) for i in [(1, "a", 2), (2, "a", 2), (1, "b", 2), (1, "a2")]}) == 4


def test_a_missing_gpu_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert compute.device("auto").type == "cpu"
    with pytest.raises(UserError, match="'cuda' is requested"):
        compute.device("cuda")


def test_the_log_tells_how_much_of_a_gpu_was_held(rule, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 3_140_000_000)
    job.run(lambda: "all done")
    last = Path(rule.log[0]).read_text().splitlines()[-1]
    assert re.fullmatch(r"all done \(0\.\d s, 3\.1 GB of the GPU's memory\)", last)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep it anyway")
def test_memory_of_tensors_is_used_again():
    """Pages that the system has to provide while tensors as large as activations come and go."""
    code = """
import resource, torch
from advrob.job import compute, machine
cpu = compute.device("cpu")
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16, 64, 112, 112, device=cpu)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for _ in range(5):  # until the small blocks between the large ones have found their places
    pages()
print(pages())
"""
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    # Ten times 51 MB are 125,000 pages of 4 kB.
    assert int(process.stdout) < 1000


def test_progress_tells_rate_and_remaining_time(capsys):
    assert list(progress(range(3), "batches", 3, every=0)) == [0, 1, 2]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("batches: 1/3, ")
    assert lines[-1].endswith(" 0 s left")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("terminal", [Terminal(), io.StringIO()], ids=["terminal", "file"])
def test_progress_of_a_job_is_seen_on_a_terminal_alone(rule, monkeypatch, terminal):
    monkeypatch.setattr(sys, "__stderr__", terminal)
    job.run(lambda: print(list(progress(range(3), "batches", 3, every=0))))
    progress_lines = terminal.getvalue()
    logged = Path(rule.log[0]).read_text()
    if terminal.isatty():
        assert progress_lines.startswith(f"score, {rule.log[0]}: batches: 1/3, ")
        assert len(progress_lines.splitlines()) == 3
    else:
        assert not progress_lines
    assert "batches: 2/3, " in logged
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", progress_lines + logged)
    # Outside of a job what is printed is on the terminal anyway.
    list(progress(range(3), "batches", 3, every=0))
    assert terminal.getvalue() == progress_lines


@pytest.mark.parametrize("mixed", [False, True])
def test_what_a_job_will_do_is_one_line(capsys, monkeypatch, mixed):
    monkeypatch.setattr(compute, "bfloat16", lambda device: True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    compute.log_start("score m/none on original", 1234, torch.device("cpu"), mixed=mixed)
    expected = "score m/none on original: 1,234 images on cpu (2 threads) in "
    assert capsys.readouterr().out == expected + ("bfloat16\n" if mixed else "float32\n")


# Scripts that leave it to a module of the library to say what they will do.
HEAVY = {"universal": "advrob/evaluation/universal"}
HEAVY |= {
    script: script
    for script in (
        *("attack", "budget", "calibration", "certify", "checkup", "controls", "defence", "gan"),
        *("gradient", "score", "sweep", "train", "vector_space"),
    )
}


@pytest.mark.parametrize("script", sorted(HEAVY))
def test_heavy_jobs_say_what_they_will_do(script):
    texts = [(SCRIPTS / f"{name}.py").read_text() for name in {script, HEAVY[script]}]
    assert sum(text.count("job.log_start(") for text in texts) == 1


@pytest.mark.parametrize(
    ("work", "line"),
    [
        (lambda images, network: network.deepfool(steps=2), "DeepFool steps, at most: 1/2"),
        (lambda images, network: network.square(queries=3), "queries, at most: 1/2"),
        (lambda images, network: network.pgd(iterations=2), "iterations, at most: 1/2"),
        (lambda images, network: network.apgd(iterations=2), "iterations, at most: 1/2"),
        (lambda images, network: network.targeted(iterations=2), "iterations, at most: 1/2"),
        (lambda images, network: linalg.gram(images, CPU), "tiles of the Gram matrix: 1/1"),
        (lambda images, network: linalg.mean(images, CPU), "blocks of images read: 1/1"),
    ],
)
def test_loops_that_may_take_long_tell_their_progress(monkeypatch, capsys, work, line):
    """Time passes in steps of a minute here, so that every step is worth a line."""
    clock = iter(range(0, 10**6, 60))
    monkeypatch.setattr(job.time, "monotonic", lambda: next(clock))
    draw = compute.generator(0, "progress")
    images = torch.randint(256, (4, 8, 8, 3), generator=draw).to(torch.uint8).numpy()
    work(images, Attacks(images, draw))
    assert capsys.readouterr().out.startswith(line)


CPU = torch.device("cpu")


class Attacks:
    """Attacks on a linear network that withstands them, on given images."""

    def __init__(self, images, draw):
        layer = torch.nn.Linear(192, 3)
        torch.nn.init.zeros_(layer.weight)
        layer.bias.data = torch.tensor([1.0, 0.0, 0.0])
        network = torch.nn.Sequential(torch.nn.Flatten(), layer)
        batch, labels = to_tensor(images), torch.zeros(4, dtype=torch.int64)
        self.deepfool = partial(deepfool, network, batch, classes=2)
        ball = {"norm": "linf", "radius": 4}

        def attack(kind, **options):
            kind(**options)(network, batch, labels, generator=draw)

        self.square = partial(attack, Square, radius=4)
        self.pgd = partial(attack, PGD, step=1, **ball)
        self.apgd = partial(attack, AutoPGD, **ball)
        self.targeted = partial(targeted, network, batch, labels + 1, radius=4)


def test_tables_start_without_torch():
    """A job that joins small files should not spend its time importing PyTorch."""
    names = sorted(path.stem for path in SCRIPTS.glob("table*.py"))
    code = f"import sys, {', '.join(names)}; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
