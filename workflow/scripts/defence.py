"""Fit a defence to images outside the test set."""

from pathlib import Path

from advrob import defences
from advrob.errors import UserError
from advrob.files import store
from advrob.job import compute
from advrob.job.script import run
from advrob.plan.configuration import kind_of, parameters_of


def main(
    *,
    images: str,
    state: str,
    defence: str,
    settings: dict,
    device: str,
    seed: int,
    checkpoint: Path,
    memory: int,
) -> str:
    """Fit ``defence`` to the file ``images`` and keep what it learned in ``state``.

    Raises:
        UserError: that needs more than the bytes of ``memory`` that are given.
    """
    place = compute.device(device)
    kind = kind_of(defence, settings)
    fitted = defences.defence_class(kind)(**parameters_of(settings))
    params = {"defence": defence, **settings}
    with store.read(images, "images/1") as source:
        pixels = source["images"]
        needed = fitted.memory(pixels.shape)
        more = f"--set-resources defence:mem_mb={2 * needed // 10**6}"
        if place.type == "cpu" and needed > memory:
            raise UserError(
                f"defences.{defence}: fitting it to {len(pixels)} images needs "
                f"{store.readable(needed)} of memory at least, and the job may use "
                f"{store.readable(memory)}. Fit on fewer images (images.fit), make the defence "
                f"smaller, or give the job more: {more}"
            )
        compute.announce(f"fit {defence}", len(pixels), place, mixed=fitted.fits_mixed)
        arrays = fitted.fit(
            pixels,
            device=place,
            # Entries of one kind draw alike, so that they differ by their parameters alone.
            generator=compute.generator(seed, "defence", kind),
            checkpoint=checkpoint,
        )
        with store.write(state, "state/1", seed=seed, params=params, source=images) as file:
            store.put(file, arrays)
    return f"{defence}: fitted"


if __name__ == "__main__":
    run(main)
