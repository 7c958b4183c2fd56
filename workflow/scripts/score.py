"""Score one network on one data set."""

from advrob import compute, job, networks, store
from advrob.scoring import predict


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
    batch_size: int,
    device: str,
    seed: int,
) -> str:
    """Predict every image of the file ``images`` with ``{model}/{defence}`` into ``scores``."""
    place = compute.device(device)
    network = networks.build(
        model,
        model_settings,
        defence,
        defence_settings,
        state=state,
        generator=compute.generator(seed, "score", dataset, model, defence, device=place),
        device=place,
    )
    with store.read(images, "images/1") as source:
        print(f"{len(source['images'])} images of {dataset} through {model}/{defence} on {place}")
        labels = source["labels"][:]
        ids = store.strings(source["ids"])
        predicted, confidence = predict(
            [network], source["images"], batch_size=batch_size, device=place
        )
    predicted, confidence = predicted[0], confidence[0]
    correct = predicted == labels
    params = {
        "dataset": dataset,
        "model": model,
        "defence": defence,
        "model_settings": model_settings,
        "defence_settings": defence_settings,
    }
    arrays = {"predicted": predicted, "correct": correct, "confidence": confidence, "ids": ids}
    with store.write(scores, "scores/1", seed=seed, params=params, source=images) as file:
        store.put(file, arrays)
    return f"{dataset} through {model}/{defence}: {correct.mean():.2%} of {len(ids)} right"


if __name__ == "__main__":
    job.run(main)
