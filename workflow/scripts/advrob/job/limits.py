"""The memory that a job may use, and what to say when it does not suffice."""

from typing import Any

from advrob.job.machine import installed_memory


def memory(resources: Any) -> int:
    """Bytes that the job may use: what its rule asks for, but not more than the machine has."""
    installed = installed_memory()
    asked = resources.get("mem_mb")
    return min(installed, asked * 10**6) if asked else installed


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory, the machine's or a GPU's, did not suffice."""
    # PyTorch, which is not imported here, raises a RuntimeError on a CPU as on a GPU.
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and any(text in str(error) for text in ("out of memory", "can't allocate memory"))
    )


def out_of_memory(error: Exception, rule: str, allowed: int, batch_size: int | None) -> str:
    """What to tell the user of such an error.

    Args:
        error: for which `is_out_of_memory` holds.
        rule: whose job it ended.
        allowed: bytes that the job may use.
        batch_size: images that it takes at a time, if it takes batches.
    """
    smaller = (
        f"Lower batch_size, which is {batch_size}"
        if batch_size
        else "Use fewer images (images.fit), or a smaller defence or batch_size of its entry"
    )
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return (
        f"rule {rule} is out of memory ({reason}). It may use {allowed // 10**6} MB of the "
        f"machine's. {smaller}, or {_more(rule, allowed)}; on a GPU, only the former helps."
    )


def was_killed(rule: str, allowed: int) -> str:
    """What to tell the user of an attempt that could say nothing itself."""
    return (
        f"the last attempt at this job of rule {rule} ended without a word: the system killed it "
        "(SIGKILL), as it does when memory runs out, or the machine stopped. This one may use "
        f"{allowed // 10**6} MB; if it is killed, too, {_more(rule, allowed)}."
    )


def _more(rule: str, allowed: int) -> str:
    return f"give it more: --set-resources {rule}:mem_mb={2 * allowed // 10**6}"
