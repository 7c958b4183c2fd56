"""Make a universal perturbation of a network."""

from pathlib import Path

import numpy as np

from advrob import networks
from advrob.attacks.universal.search import universal
from advrob.attacks.universal.stochastic_gradient import universal_gradient
from advrob.files import store
from advrob.job import compute
from advrob.job.script import run

METHODS = {"deepfool": universal, "stochastic_gradient": universal_gradient}
# Many small steps are a part of the gradient method: more images at a time weaken it.
GRADIENT_BATCH = 20


def main(
    *,
    images: str,
    held_out: str,
    perturbation: str,
    model: str,
    defence: str,
    model_settings: dict,
    defence_settings: dict,
    state: list[str],
    settings: dict,
    batch_size: int,
    device: str,
    seed: int,
    checkpoint: Path,
) -> str:
    """Find what fools ``{model}/{defence}`` on the file ``images``; measure it on ``held_out``."""
    place = compute.device(device)
    identity = ("universal", model, defence)
    exact = settings["method"] == "deepfool"
    noise = compute.generator(seed, *identity, "defence", device=place)
    network = networks.build(
        model,
        model_settings,
        defence,
        defence_settings,
        state=state,
        generator=noise,
        device=place,
        # DeepFool stops as soon as a prediction changes, which the rounding of bfloat16 blurs.
        mixed=not exact,
    )
    params = networks.params(model, model_settings, defence, defence_settings) | settings
    options = {key: value for key, value in settings.items() if key not in ("method", "images")}
    with (
        store.read(images, "images/1") as own,
        store.read(held_out, "images/1") as others,
    ):
        # Not read here: their number is the user's, the memory is not.
        pixels = store.Rows(own["images"], np.arange(len(own["images"]))[: settings.get("images")])
        task = f"universal perturbation by {settings['method']} against {model}/{defence}"
        compute.announce(task, len(pixels), place, mixed=not exact)
        found = METHODS[settings["method"]](
            network,
            pixels,
            others["images"],
            device=place,
            generator=compute.generator(seed, *identity),
            batch_size=batch_size if exact else min(batch_size, GRADIENT_BATCH),
            noise=noise,
            checkpoint=checkpoint,
            **options,
        )
        with store.write(
            perturbation, "perturbation/1", seed=seed, params=params, source=images
        ) as file:
            store.put(file, {"perturbation": found.perturbation, **found.history})
            file.attrs["norm"] = settings["norm"]
            file.attrs["radius"] = settings["radius"]
            file.attrs["fooling_rate"] = found.fooling_rate
            file.attrs["fooling_rate_held_out"] = found.fooling_rate_held_out
    return (
        f"{model}/{defence}: fools {found.fooling_rate:.1%} of its own images and "
        f"{found.fooling_rate_held_out:.1%} of the held-out ones"
    )


if __name__ == "__main__":
    run(main)
