"""Fit a defence to images outside the test set."""

from pathlib import Path

from advrob import compute, defences, job, store
from advrob.configuration import kind_of, parameters_of


def main(
    *,
    images: str,
    state: str,
    defence: str,
    settings: dict,
    device: str,
    seed: int,
    checkpoint: Path,
) -> str:
    """Fit ``defence`` to the file ``images`` and keep what it learned in ``state``."""
    fitted = defences.defence_class(kind_of(defence, settings))(**parameters_of(settings))
    params = {"defence": defence, **settings}
    with store.read(images, "images/1") as source:
        print(f"fitting {defence} to {len(source['images'])} images on {compute.device(device)}")
        arrays = fitted.fit(
            source["images"],
            device=compute.device(device),
            generator=compute.generator(seed, "defence", defence),
            checkpoint=checkpoint,
        )
        with store.write(state, "state/1", seed=seed, params=params, source=images) as file:
            store.put(file, arrays)
    return f"{defence}: fitted"


if __name__ == "__main__":
    job.run(main)
