"""Measure how attacked images lie in image space."""

from advrob.evaluation import vector_space
from advrob.files import store
from advrob.job import compute
from advrob.job.compute import Job
from advrob.job.script import run
from advrob.plan.contents import by_content
from advrob.plan.plan import NetworkDescription


def main(
    *,
    original: str,
    universal: str,
    gradient: str,
    space: str,
    model: str,
    networks: dict[str, NetworkDescription],
    experiment: dict,
    job: Job,
) -> str:
    """Compare the test images with those attacked to fool ``model``, into the file ``space``."""
    files = {"universal": universal, "gradient": gradient}
    # The same images for every model.
    draws = compute.generator(job.seed, "vector_space", "images")
    ids, images, attacked = vector_space.read(original, files, experiment["images"], draws)
    job.log_start(f"{model}'s view of perturbations behind {len(networks)} defences", len(images))
    arrays = vector_space.analyse(networks, ids, images, attacked, experiment, job)
    described = {name: network["defence_settings"] for name, network in networks.items()}
    params = {"model": model, "defences": described, "numbers": images[0].size, **experiment}
    params["model_settings"] = by_content(networks["pca"]["model_settings"])
    source = ", ".join((original, universal, gradient))
    store.save(space, "vector_space/1", arrays, seed=job.seed, params=params, source=source)
    energy = arrays["energy_original"]
    return f"{model}: {len(energy)} components span {energy.sum():.1%} of the images' energy"


if __name__ == "__main__":
    run(main)
