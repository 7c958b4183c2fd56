"""Score one network on one data set."""

from advrob import networks
from advrob.evaluation.scoring import predict
from advrob.files import sharding, store
from advrob.job import compute
from advrob.job.script import run


def main(
    *,
    images: str,
    scores: str,
    dataset: str,
    model: str,
    defence: str,
    model_settings: dict,
    defence_settings: dict,
    state: list[str],
    draws: int,
    batch_size: int,
    device: str,
    seed: int,
    scatteritem: str = sharding.WHOLE,
) -> str:
    """Predict each image, or those of a shard, of the file ``images`` by ``{model}/{defence}``."""
    place = compute.device(device)
    network = networks.build(
        model,
        model_settings,
        defence,
        defence_settings,
        state=state,
        device=place,
    )

    def reseed(start: int) -> None:
        network.defence.generator = compute.generator(
            seed, "score", dataset, model, defence, start, device=place
        )

    with store.read(images, "images/1") as source:
        part = sharding.part(scatteritem, len(source["images"]), batch_size)
        labels = source["labels"][part]
        ids = store.strings(source["ids"])[part]
        compute.announce(f"score {model}/{defence} on {dataset}", len(ids), place)
        predicted, confidence = predict(
            [network] * (draws if network.defence.stochastic else 1),
            source["images"],
            batch_size=batch_size,
            device=place,
            part=part,
            reseed=reseed,
        )
    correct = predicted == labels
    params = networks.params(model, model_settings, defence, defence_settings)
    params["dataset"] = dataset
    # The first draw is the prediction; the others tell how much chance there is in it.
    arrays = {
        "predicted": predicted[0],
        "correct": correct[0],
        "confidence": confidence[0],
        "draws": correct,
        "ids": ids,
    }
    with store.write(scores, "scores/1", seed=seed, params=params, source=images) as file:
        store.put(file, arrays)
    return f"{dataset} through {model}/{defence}: {correct.mean():.2%} of {len(ids)} right"


if __name__ == "__main__":
    run(main)
