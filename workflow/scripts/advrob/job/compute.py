"""Where and how precisely to compute, and where random numbers come from."""

import contextlib
import ctypes
import hashlib
import os
from dataclasses import dataclass
from typing import Any

import torch

from advrob.errors import UserError
from advrob.job import record

# Names of two settings in glibc's malloc.h, and the largest block that is kept, in bytes: one of a
# network's activations. Larger ones are linear algebra's, few, and would leave gaps of gigabytes.
# Older versions of glibc accept 32 MiB at most.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MALLOC_LIMITS = (2**28, 2**25)


def device(name: str) -> torch.device:
    """The device of a configured name: ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``.

    On a GPU float32 is float32, as on a CPU, and the same seed gives the same results: PyTorch as
    it comes rounds the inputs of convolutions to 10 bits there and sums gradients in any order.
    On a CPU the process keeps memory that tensors no longer need for those that come.

    Raises:
        UserError: a GPU is asked for where there is none.
    """
    available = torch.cuda.is_available()
    if name.startswith("cuda") and not available:
        raise UserError(
            f"device: '{name}' is requested, but PyTorch {torch.__version__} finds no GPU on this "
            "machine. Set device to auto or cpu, or run on a machine with a GPU."
        )
    selected = torch.device(("cuda" if available else "cpu") if name == "auto" else name)
    if selected.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        # cuBLAS reads it at its first product: work space that is not shared among streams.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # What has no deterministic form is named in the log instead of ending the job.
        torch.use_deterministic_algorithms(True, warn_only=True)
    else:
        _reuse_memory()
    return selected


def _reuse_memory() -> None:
    """Have the C library use freed memory again instead of giving it back.

    Else each large tensor is new memory, which the system clears page by page when it is first
    written: that took half of the time of a network's forward and backward passes
    (docs/benchmarks.md).
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # glibc has it, other C libraries need no such thing
        any(library.mallopt(M_MMAP_THRESHOLD, size) for size in MALLOC_LIMITS)
        library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 for convolutions and multiplications where the hardware has it, else nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16(device))


def log_start(task: str, images: int, device: torch.device, *, mixed: bool = False) -> None:
    """Say in a job's log what will be done, with what, where and how precisely, before it begins.

    Its record says so, too.

    Args:
        task: what, naming network and data set.
        images: how many.
        device: where.
        mixed: whether what tolerates it is multiplied in bfloat16; see `autocast`.
    """
    gpu = device.type == "cuda"
    hardware = torch.cuda.get_device_name(device) if gpu else f"{torch.get_num_threads()} threads"
    precision = "bfloat16" if mixed and bfloat16(device) else "float32"
    print(f"{task}: {images:,} images on {device.type} ({hardware}) in {precision}", flush=True)
    record.note(device=f"{device.type} ({hardware})", precision=precision, images=images)


def number(seed: int, *identity: str | float) -> int:
    """63 bits that belong to a seed and a job: what its random generator starts from."""
    digest = hashlib.sha256("\0".join(map(str, (seed, *identity))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(
    seed: int, *identity: str | float, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A random generator for one job: the same seed and identity always draw the same numbers."""
    return torch.Generator(device).manual_seed(number(seed, *identity))


@dataclass(frozen=True)
class Job:
    """What every job that computes is given.

    Attributes:
        seed: the configured seed.
        device: where to compute.
        batch_size: images in a network at a time.
    """

    seed: int
    device: torch.device
    batch_size: int

    @classmethod
    def of(cls, *, seed: int, device_name: str = "cpu", batch_size: int = 1) -> "Job":
        """A job on a configured device; see `device` for what is raised."""
        return cls(seed, device(device_name), batch_size)

    def generator(self, *identity: str | float) -> torch.Generator:
        """A random generator on the job's device; see `generator`."""
        return generator(self.seed, *identity, device=self.device)

    def cpu_generator(self, *identity: str | float) -> torch.Generator:
        """A random generator on the CPU, for what is drawn alike on every device."""
        return generator(self.seed, *identity)

    def log_start(self, task: str, images: int, *, mixed: bool = False) -> None:
        """Say in the log what will be done; see `log_start`."""
        log_start(task, images, self.device, mixed=mixed)
