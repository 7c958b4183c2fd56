"""Attack one network with growing radii and growing effort."""

from pathlib import Path

import numpy as np
import torch

from advrob import networks
from advrob.evaluation.adaptive import Trial, budgets, sample
from advrob.files import store
from advrob.job import compute
from advrob.job.script import run


def main(
    *,
    images: str,
    budget: str,
    model: str,
    defence: str,
    model_settings: dict,
    defence_settings: dict,
    state: list[str],
    settings: dict,
    pattern: str | None,
    batch_size: int,
    device: str,
    seed: int,
    checkpoint: Path,
) -> str:
    """Auto-PGD on ``{model}/{defence}`` within each of several radii, and by several efforts."""
    place = compute.device(device)
    network = networks.build(
        model,
        model_settings,
        defence,
        defence_settings,
        state=state,
        device=place,
        mixed=True,
    )
    trials = [Trial(radius, settings["iterations"]) for radius in settings["radii"]]
    trials += [Trial(settings["radius"], effort) for effort in settings["efforts"]]
    with store.read(images, "images/1") as source:
        ids = store.strings(source["ids"])
        chosen = sample(ids, settings["images"], pattern, seed)
        pixels = store.Rows(source["images"], chosen)[:]
        labels = torch.from_numpy(source["labels"][:][chosen])
    task = f"{len(trials)} attacks of Auto-PGD against {model}/{defence}"
    compute.announce(task, len(chosen), place, mixed=True)
    correct, gradients = budgets(
        network,
        pixels,
        labels,
        trials,
        draws=settings["draws"],
        batch_size=batch_size,
        device=place,
        generator=lambda trial, first: compute.generator(
            seed, "budget", model, defence, trial, first, device=place
        ),
        checkpoint=checkpoint,
    )
    radii, efforts = len(settings["radii"]), settings["efforts"]
    arrays = {
        "radii": np.array(settings["radii"], np.float64),
        "correct": correct[:radii],
        "efforts": np.array(efforts, np.int64),
        "correct_effort": correct[radii:],
        "gradients": gradients,
        "ids": np.array(ids, dtype=object)[chosen],
    }
    params = {"model": model, "defence": defence, **settings}
    with store.write(budget, "budget/1", seed=seed, params=params, source=images) as file:
        store.put(file, arrays)
    shares = (
        f"{row.mean():.1%} at {radius:g}"
        for radius, row in zip(settings["radii"], correct, strict=False)
    )
    return f"{model}/{defence}: right within radii of 255: {', '.join(shares)}"


if __name__ == "__main__":
    run(main)
