"""What computes on a GPU: every stage, the same twice, and the same as on a CPU.

    ADVROB_SHARED=FOLDER python3 -m pytest tests/workflow/test_gpu.py

Skipped where PyTorch finds no GPU.
"""

import hashlib
import re

import h5py
import numpy as np
import pytest
import torch
import yaml
from test_workflow import snakemake

from advrob.job import compute
from conftest import ROOT

DEFENCES = ["noise", "downsample", "pca", "autoencoder", "conv_autoencoder"]
METHODS = ["standard", "universal", "fast", "free", "gan", "multitask"]
# Each rule that computes on a GPU, with each kind of defence, attack and training.
TARGETS = [
    "results/analysis/vector_space/googlenet.h5",
    "results/budgets/googlenet/noise.h5",
    "results/calibration.json",
    "results/certified/original/googlenet.h5",
    "results/certified/original/googlenet/downsample.h5",
    "results/checkups/googlenet/noise.json",
    "results/controls/googlenet/noise.h5",
    "results/datasets/universal-googlenet-pca.h5",
    "results/scores/gan-googlenet-none/googlenet/none.h5",
    "results/scores/original/googlenet/sweep-noise.h5",
    "results/scores/original/googlenet_multitask/none.h5",
    "results/scores/tuning/googlenet/noise_20.h5",
    *(f"results/datasets/pgd-googlenet-{defence}.h5" for defence in DEFENCES),
    *(f"results/scores/original/googlenet/{defence}.h5" for defence in DEFENCES),
    *(f"results/models/googlenet_{method}.h5" for method in METHODS),
]
SMALL = {
    "batch_size": 64,
    "images": {"test": {"per_class": 6}, "fit": {"total": 300}},
    "defences": {
        "autoencoder": {"hidden": 64, "epochs": 1},
        "conv_autoencoder": {"epochs": 2},
    },
    "models": {f"googlenet_{method}": {"train": {"epochs": 1}} for method in METHODS},
    "perturbations": {
        "universal": {"images": 200, "passes": 1},
        "gradient": {"iterations": 10},
        "gan": {"images": 100, "epochs": 1},
        "untargeted": {"square": {"queries": 10}}
        | {name: {"iterations": 5} for name in ("pgd", "pgd_l2", "apgd_ce", "apgd_dlr", "search")},
    },
    "experiments": {
        "draws": 2,
        "noise_magnitudes": [0, 10],
        "smoothing": {"draws": 50, "images": 4},
        "vector_space": {"images": 20, "normals": 10},
        "robustness": {
            "images": 20,
            "draws": 2,
            "iterations": 5,
            "radii": [0, 4],
            "efforts": [1, 2],
        },
        "settings": {"images": 50},
        "fit_images": None,
    },
}


def test_a_gpu_computes_in_float32_and_in_one_order(monkeypatch):
    switches = [(torch.backends.cudnn, "allow_tf32"), (torch.backends.cudnn, "deterministic")]
    switches += [(torch.backends.cuda.matmul, "allow_tf32")]
    before = [getattr(where, name) for where, name in switches]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        assert compute.device("auto") == torch.device("cuda")
        assert [getattr(where, name) for where, name in switches] == [False, True, False]
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        for (where, name), value in zip(switches, before, strict=True):
            setattr(where, name, value)
        torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def run(shared, tmp_path_factory):
    """Make targets of a small Imagenette run in a new folder, and give that folder."""
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU")
    weights = {"googlenet": {"weights": str(shared / "weights/bvlc_googlenet.safetensors")}}
    models = SMALL["models"] | weights
    count = 0

    def make(*targets, device="cuda"):
        nonlocal count
        count += 1
        folder = tmp_path_factory.mktemp(f"gpu{count}")
        (folder / "small.yaml").write_text(yaml.safe_dump(SMALL | {"models": models}))
        files = [ROOT / "config.yaml", ROOT / "presets/imagenette.yaml", folder / "small.yaml"]
        changes = [f"device={device}", f"images_root={shared / 'data/imagenette'}"]
        arguments = ["--cores", "all", "--max-threads", 2, "--show-failed-logs", *targets]
        arguments += ["--configfile", *files, "--config", *changes]
        done = snakemake(folder, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return folder

    return make


@pytest.fixture(scope="module")
def once(run):
    return run(*TARGETS)


def logs(folder):
    return {path: path.read_text() for path in sorted((folder / "logs").rglob("*.log"))}


def test_every_stage_runs_on_a_gpu(once):
    computing = {
        path: text for path, text in logs(once).items() if re.search(r"images on (cuda|cpu)", text)
    }
    assert len(computing) >= len(TARGETS)
    for path, text in computing.items():
        assert "images on cuda" in text, f"{path} computed elsewhere:\n{text}"
        assert "of the GPU's memory" in text.splitlines()[-1]


def test_the_same_seed_makes_the_same_files_on_a_gpu(run, once):
    """To the byte, so that a run can be repeated; what PyTorch cannot order is said in a log."""
    again = run(*TARGETS)
    files = sorted(path.relative_to(once) for path in (once / "results").rglob("*.h5"))
    assert len(files) > len(TARGETS)
    digests = [
        [hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in files]
        for folder in (once, again)
    ]
    differing = [str(file) for file, a, b in zip(files, *digests, strict=True) if a != b]
    warned = {
        str(path.relative_to(once)): text
        for path, text in logs(once).items()
        if "deterministic" in text
    }
    assert not differing, warned
    assert not warned


def test_a_gpu_scores_as_a_cpu_does(run, once):
    score = "results/scores/original/googlenet/downsample.h5"
    elsewhere = run(score, device="cpu")
    with h5py.File(once / score) as on_gpu, h5py.File(elsewhere / score) as on_cpu:
        np.testing.assert_array_equal(on_gpu["ids"][:], on_cpu["ids"][:])
        np.testing.assert_array_equal(on_gpu["predicted"][:], on_cpu["predicted"][:])
        np.testing.assert_allclose(on_gpu["confidence"][:], on_cpu["confidence"][:], atol=1e-3)
