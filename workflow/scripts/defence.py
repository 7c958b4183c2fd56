"""Fit a defence to images outside the test set."""

from pathlib import Path

from advrob.files import store
from advrob.job import compute
from advrob.job.compute import Job
from advrob.job.script import run
from advrob.learning.defences import check_memory
from advrob.plug_ins import make


def main(
    *,
    images: str,
    state: str,
    defence: str,
    entry: dict,
    job: Job,
    checkpoint: Path,
    memory: int,
) -> str:
    """Fit ``defence`` to the file ``images`` and keep what it learned in ``state``."""
    kind = entry.get("kind", defence)
    parameters = {key: value for key, value in entry.items() if key != "kind"}
    fitted = make("defence", kind, parameters)
    with store.read(images, "images/1") as source:
        pixels = source["images"]
        check_memory(defence, fitted.memory(pixels.shape), len(pixels), memory, job.device)
        job.log_start(f"fit {defence}", len(pixels), mixed=fitted.fits_mixed)
        # Entries of one kind draw alike, so that they differ by their parameters alone.
        draws = compute.generator(job.seed, "defence", kind)
        arrays = fitted.fit(pixels, device=job.device, generator=draws, checkpoint=checkpoint)
        about = {"params": {"defence": defence, **entry}, "source": images}
        store.save(state, "state/1", arrays, seed=job.seed, **about)
    return f"{defence}: fitted"


if __name__ == "__main__":
    run(main)
