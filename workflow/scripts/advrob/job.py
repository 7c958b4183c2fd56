"""What every job needs: its arguments, its log, its device and its random numbers."""

import contextlib
import hashlib
import inspect
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch

from advrob.errors import UserError

T = TypeVar("T")


def run(main: Callable[..., str | None]) -> None:
    """Call a script's ``main`` with the rule's named inputs, outputs, parameters and wildcards.

    Names in the rule are names of ``main``'s keywords; what ``main`` does not name (the code's
    version, say) is left out. Everything printed goes to the rule's log; the sentence that ``main``
    returns is the log's last line. A `UserError` ends the job with its message alone.
    """
    snakemake = sys.modules["__main__"].snakemake
    given: dict[str, Any] = {}
    for part in (snakemake.wildcards, snakemake.params, snakemake.input, snakemake.output):
        given.update(dict(part.items()))
    keywords = {name: given[name] for name in inspect.signature(main).parameters if name in given}
    started = time.monotonic()
    with _logging(snakemake.log[0] if snakemake.log else None):
        try:
            found = main(**keywords)
        except UserError as error:
            _fail(f"error: {error}")
        except Exception:
            _fail(f"error: rule {snakemake.rule} failed:\n{traceback.format_exc()}")
        print(f"{found or 'done'} ({time.monotonic() - started:.1f} s)", flush=True)


def _fail(message: str) -> None:
    print(message, flush=True)
    if sys.__stderr__ is not None:
        print(message, file=sys.__stderr__, flush=True)
    sys.exit(1)


@contextlib.contextmanager
def _logging(path: str | None) -> Iterator[None]:
    if path is None:
        yield
        return
    with (
        Path(path).open("w", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        yield


def device(name: str) -> torch.device:
    """The device of a configured name: ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``.

    Raises:
        UserError: a GPU is asked for where there is none.
    """
    available = torch.cuda.is_available()
    if name.startswith("cuda") and not available:
        raise UserError(
            f"device: '{name}' was asked for, but PyTorch {torch.__version__} finds no GPU on this "
            "machine. Set device to auto or cpu, or run on a machine with a GPU."
        )
    return torch.device(("cuda" if available else "cpu") if name == "auto" else name)


def bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 for convolutions and multiplications where the hardware has it, else nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16(device))


def generator(
    seed: int, *identity: str | float, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A random generator for one job: the same seed and identity always draw the same numbers."""
    text = "\0".join(map(str, (seed, *identity)))
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@contextlib.contextmanager
def checkpoint(output: str, params: object, *inputs: str) -> Iterator[Path]:
    """A file beside ``output`` for a long job to go on from; removed when the block succeeds.

    Its name depends on the parameters and on the inputs' sizes and times: after a change of either,
    a job starts anew instead of going on from what no longer fits.
    """
    states = [(path, Path(path).stat().st_size, Path(path).stat().st_mtime_ns) for path in inputs]
    identity = json.dumps([params, states], sort_keys=True).encode()
    target = Path(output)
    target.parent.mkdir(parents=True, exist_ok=True)
    yield target.with_name(f".{target.name}.{hashlib.sha256(identity).hexdigest()[:16]}.checkpoint")
    for file in target.parent.glob(f".{target.name}.*.checkpoint"):
        file.unlink()


def progress(items: Iterable[T], what: str, total: int, every: float = 10.0) -> Iterator[T]:
    """Yield ``items``, printing a line with rate and remaining time every so many seconds.

    Plain lines without control characters: they are read in log files.
    """
    started = shown = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - shown >= every:
            shown = now
            rate = done / (now - started)
            left = (total - done) / rate
            print(f"{what}: {done}/{total}, {rate:.3g}/s, {left:.0f} s left", flush=True)
