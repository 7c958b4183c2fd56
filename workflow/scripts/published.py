"""Read a universal perturbation that others published."""

from advrob.files import store
from advrob.images.published import read
from advrob.job.script import run
from advrob.plan.names import PUBLISHED, DataSet


def main(*, file: str, perturbation: str, published: str, entry: dict, size: int, seed: int) -> str:
    """Bring a .mat or .npy ``file`` into the workflow's format, as its ``entry`` describes it."""
    values = read(
        file,
        size=size,
        norm=entry["norm"],
        radius=entry["radius"],
        pixels=entry["pixels"],
        key=f"perturbations.published.{published}",
    )
    params = entry | {"dataset": DataSet(PUBLISHED, label=published).name}
    with store.write(
        perturbation, "perturbation/1", seed=seed, params=params, source=f"published: {published}"
    ) as output:
        store.put(output, {"perturbation": values})
    return f"{published}: largest change {abs(values).max():.3g}/255"


if __name__ == "__main__":
    run(main)
