"""Fit a defence to images outside the test set."""

from pathlib import Path

from advrob.files import store
from advrob.job.compute import Job
from advrob.job.script import Options, run
from advrob.learning.defences import check_arrays, check_memory, fit_options
from advrob.plan.plan import NetworkDescription
from advrob.plug_ins import make


def main(
    *,
    images: str,
    state: str,
    defence: str,
    entry: dict,
    classifiers: tuple[NetworkDescription, ...] = (),
    job: Job,
    checkpoint: Path,
    memory: int,
) -> str:
    """Fit ``defence`` to the file ``images`` and keep what it learned in ``state``."""
    kind = entry.get("kind", defence)
    fitted = make("defence", kind, {key: entry[key] for key in entry if key != "kind"})
    with store.read(images, "images/1") as source:
        pixels = source["images"]
        check_memory(defence, fitted.memory(pixels.shape), len(pixels), memory, job.device)
        job.log_start(f"fit {defence}", len(pixels), mixed=fitted.fits_mixed)
        options = fit_options(kind, classifiers, job) | {"checkpoint": checkpoint}
        arrays = check_arrays(defence, fitted.fit(pixels, **options))
        about: Options = {"params": {"defence": defence, **entry}, "source": images}
        store.save(state, "state/1", arrays, seed=job.seed, **about)
    return f"{defence}: fitted"


if __name__ == "__main__":
    run(main)
