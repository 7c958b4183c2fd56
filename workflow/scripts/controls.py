"""Score a network on random changes as large as those of the attacks that know it."""

from pathlib import Path

import numpy as np

from advrob import networks
from advrob.attacks.control import CONTROLS, controlled
from advrob.evaluation import adaptive
from advrob.evaluation.scoring import predict
from advrob.files import store
from advrob.job import compute
from advrob.job.script import run


def main(
    *,
    images: str,
    attacked: list[str],
    controls: str,
    model: str,
    defence: str,
    model_settings: dict,
    defence_settings: dict,
    state: list[str],
    norms: list[str],
    limit: int,
    pattern: str | None,
    batch_size: int,
    device: str,
    seed: int,
) -> str:
    """For each file of ``attacked``, measure its changes and score ``{model}/{defence}`` on others.

    The others are the same changes with signs drawn at random, and with their pixels shuffled.
    """
    place = compute.device(device)
    network = networks.build(
        model,
        model_settings,
        defence,
        defence_settings,
        state=state,
        device=place,
    )
    with store.read(images, "images/1") as source:
        ids = store.strings(source["ids"])
        chosen = adaptive.sample(ids, limit, pattern, seed)
        originals, labels = store.Rows(source["images"], chosen)[:], source["labels"][:][chosen]
    names = [ids[number] for number in chosen]
    task = (
        f"{len(CONTROLS)} random changes like those of {len(attacked)} attacks on {model}/{defence}"
    )
    compute.announce(task, len(names), place)
    correct, farthest = [], []
    for path, norm in zip(attacked, norms, strict=True):
        with store.read(path, "images/1") as source:
            row_of = {name: row for row, name in enumerate(store.strings(source["ids"]))}
            rows = np.array([row_of[name] for name in names])
            moved = store.Rows(source["images"], rows)[:]
        farthest.append(adaptive.distances(originals, moved, norm).max())
        for name, control in CONTROLS.items():
            # The data set's name and not its path, which may have a prefix.
            dataset = Path(path).stem
            draw = np.random.default_rng(compute.number(seed, "controls", dataset, name))
            changed = controlled(originals, moved, control, draw)
            network.defence.generator = compute.generator(
                seed, "controls", dataset, name, model, defence, device=place
            )
            predicted, _ = predict([network], changed, batch_size=batch_size, device=place)
            correct.append(predicted[0] == labels)
    arrays = {
        "datasets": np.array([Path(path).stem for path in attacked], dtype=object),
        "controls": np.array(list(CONTROLS), dtype=object),
        "correct": np.stack(correct).reshape(len(attacked), len(CONTROLS), -1),
        "farthest": np.array(farthest),
        "ids": np.array(names, dtype=object),
    }
    params = {"model": model, "defence": defence, "norms": norms}
    with store.write(controls, "controls/1", seed=seed, params=params, source=images) as file:
        store.put(file, arrays)
    return f"{model}/{defence}: {arrays['correct'].mean():.1%} right under random changes"


if __name__ == "__main__":
    run(main)
