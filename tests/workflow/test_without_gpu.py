"""The environment without libraries for GPUs, as the documentation has it made.

PyTorch's index of builds for the CPU is not asked: tests need no network.
"""

import re
import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from test_environments import LOCK, PINS, TEST_LOCK, locked, normal

from conftest import ROOT, block

PYTORCH, REST = block((ROOT / "docs/running.md").read_text(), "## Without a GPU").splitlines()
FILTER, INSTALL = REST.split(" | ")
# What else PyTorch's builds for GPUs require.
FOR_GPUS = re.compile(r"(nvidia|cuda)-.*|triton")
OWN = {"torch", "torchvision"}


def without_gpu(lock):
    """What the documented filter leaves of a lock."""
    command = FILTER.replace("requirements.lock", str(lock))
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout


def test_the_builds_for_the_cpu_are_the_pinned_versions():
    assert dict(re.findall(r"(\w+)==(\S+)", PYTORCH)) == {name: PINS[name] for name in OWN}


@pytest.mark.parametrize("lock", [LOCK, TEST_LOCK], ids=["users", "tests"])
def test_the_rest_of_the_lock_is_as_it_was(lock, tmp_path):
    left = tmp_path / "left.lock"
    left.write_text(without_gpu(lock))
    before, after = locked(lock), locked(left)
    dropped = before.keys() - after.keys()
    assert dropped == OWN | {name for name in before if FOR_GPUS.fullmatch(name)}
    assert len(dropped) > 15
    assert after == {name: before[name] for name in before.keys() - dropped}


def test_nothing_that_is_left_requires_what_is_dropped(tmp_path):
    left = tmp_path / "left.lock"
    left.write_text(without_gpu(LOCK))
    names = locked(left).keys() | OWN
    checked = 0
    for distribution in metadata.distributions():
        name = normal(distribution.name)
        # PyTorch's builds for the CPU require nothing for GPUs.
        if name not in names or name == "torch":
            continue
        for requirement in map(Requirement, distribution.requires or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                assert not FOR_GPUS.fullmatch(normal(requirement.name)), name
        checked += 1
    assert checked > 80


def test_pip_reads_the_rest_of_the_lock(tmp_path):
    """With an environment that says it has all of it, pip has nothing left to do."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    left = tmp_path / "left.lock"
    left.write_text(without_gpu(LOCK))
    for name, entries in locked(left).items():
        for entry in entries:
            version_and_marker = entry.splitlines()[0].rstrip(" \\")
            requirement = Requirement(f"{name}=={version_and_marker}")
            if requirement.marker is None or requirement.marker.evaluate():
                version = next(iter(requirement.specifier)).version
                folder = packages / f"{name.replace('-', '_')}-{version}.dist-info"
                folder.mkdir()
                text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
                (folder / "METADATA").write_text(text)
    pip, _, arguments = INSTALL.partition(" ")
    assert pip == ".venv/bin/pip"
    command = [sys.executable, "-m", "pip", "--python", str(tmp_path / "venv/bin/python")]
    command += [*arguments.split(), "--dry-run", "--no-index"]
    done = subprocess.run(command, input=without_gpu(LOCK), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if not line.startswith("Ignoring ")]
    assert len(said) > 80
    assert all(line.startswith(("Requirement already satisfied", "Looking in")) for line in said)


BLOCKED = """
import importlib, importlib.abc, pkgutil, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("nvidia", "cuda", "triton"):
            raise ModuleNotFoundError(f"no module {name}", name=name)

sys.meta_path.insert(0, Blocker())
import advrob, torch
for module in pkgutil.walk_packages(advrob.__path__, "advrob."):
    importlib.import_module(module.name)

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4)).eval()
images = torch.rand(4, 3, 8, 8)
labels = network(images).argmax(dim=1)
result = advrob.evaluate(network, images, labels, radius=1, iterations=2, queries=5)
print(result.original.accuracy, result.worst.n)
"""


def test_the_library_runs_where_no_package_for_gpus_can_be_imported():
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED],
        env={"PYTHONPATH": str(ROOT / "workflow/scripts"), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "1.0 4"
