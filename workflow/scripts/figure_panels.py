"""Figures 8 to 10: photographs before and after an attack, with and without a defence."""

import numpy as np

from advrob import networks
from advrob.evaluation.scoring import predict
from advrob.figures import panels, plotting
from advrob.findings import tables
from advrob.images.pixels import to_tensor, to_uint8
from advrob.job import compute
from advrob.job.script import run


def main(
    *,
    original: str,
    attacked: str,
    scores_original: str,
    scores_attacked: str,
    scores_defended: list[str],
    state: list[str],
    model: str,
    model_settings: dict,
    defence: str,
    defence_settings: dict,
    device: str,
    seed: int,
    photographs: int,
    pdf: str,
    png: str,
) -> str:
    """Draw so many ``photographs``; predictions are the model's on exactly the pictures shown.

    Headings have the accuracy on all images: ``scores_defended`` are the defence's on both sets.
    """
    pairs = panels.read_pairs(original, attacked, scores_original, scores_attacked, photographs)
    place = compute.device(device)
    network = networks.build(
        model,
        model_settings,
        defence,
        defence_settings,
        state=state,
        generator=compute.generator(seed, "figure", model, defence, device=place),
        device=place,
    )
    images = to_tensor(np.concatenate((pairs.original, pairs.attacked)), place)
    defended = to_uint8(network.defence(images))
    predictions = predict([network.model], defended, batch_size=len(images), device=place)
    shown = len(images) // 2
    before, after = (
        pairs.pictures(defended[half], *(values[0, half] for values in predictions))
        for half in (slice(shown), slice(shown, None))
    )
    columns = (
        pairs.pictures(pairs.original, *pairs.before),
        before,
        pairs.pictures(pairs.attacked, *pairs.after),
        after,
    )
    # In the order of the columns.
    files = (scores_original, scores_defended[0], scores_attacked, scores_defended[1])
    headings = [panels.heading(cell) for cell in tables.read_cells(files)]
    figure = panels.grid(list(zip(*columns, strict=True)), headings, pairs.names())
    plotting.save(figure, pdf=pdf, png=png, dpi=panels.DPI)
    kept = sum(picture.right for picture in after)
    return f"{defence} on {pairs.dataset}: {kept} of {shown} attacked photographs recognised"


if __name__ == "__main__":
    run(main)
