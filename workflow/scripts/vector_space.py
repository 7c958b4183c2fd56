"""Measure how attacked images lie in image space."""

import numpy as np
import torch

from advrob import networks
from advrob.attacks.control import controlled, signs
from advrob.defences import Defence
from advrob.evaluation import vector_space
from advrob.files import store
from advrob.job import compute
from advrob.job.script import run


def main(
    *,
    original: str,
    universal: str,
    gradient: str,
    parts: dict[str, list[str]],
    space: str,
    model: str,
    model_settings: dict,
    trained: list[str],
    defences: dict,
    settings: dict,
    batch_size: int,
    device: str,
    seed: int,
) -> str:
    """Compare the test images with those attacked to fool ``model``, into the file ``space``."""
    place = compute.device(device)
    common = {"batch_size": batch_size, "device": place}

    def build(name: str) -> Defence:
        return networks.build_defence(
            name,
            defences[name],
            state=parts[name],
            generator=torch.Generator(place),
            device=place,
        )

    # The same images for every model.
    ids, images, attacked = vector_space.read(
        original,
        {"universal": universal, "gradient": gradient},
        settings["images"],
        compute.generator(seed, "vector_space", "images"),
    )
    draw = np.random.default_rng(compute.number(seed, "vector_space", "signs"))
    attacked["random"] = controlled(images, attacked["universal"], signs, draw)
    task = f"{model}'s view of {', '.join(attacked)} perturbations behind {len(defences)} defences"
    compute.announce(task, len(images), place)

    network = networks.build_model(model, model_settings, state=trained, device=place)
    pca = build("pca")
    arrays = vector_space.displacements(
        images, attacked, model=network, centre=pca.mean, basis=pca.components(), **common
    )
    del pca
    left = []
    for name in defences:
        print(f"what {name} leaves of them", flush=True)
        left.append(
            vector_space.retained(
                build(name),
                images,
                attacked,
                generator=lambda start, name=name: compute.generator(
                    seed, "vector_space", name, start, device=place
                ),
                **common,
            )
        )
    normals = vector_space.normals(network, images[: settings["normals"]], **common)
    randoms = vector_space.random_units(
        *normals.shape, compute.generator(seed, "vector_space", "units")
    )
    arrays |= {name: np.stack([found[name] for found in left]) for name in left[0]}
    arrays["singular_normals"] = vector_space.singular_values(normals)
    arrays["singular_random"] = vector_space.singular_values(randoms)
    names = {"attacks": list(attacked), "spaces": vector_space.SPACES, "defences": list(defences)}
    params = {"model": model, "model_settings": model_settings, "defences": defences, **settings}
    params["numbers"] = normals.shape[1]
    source = ", ".join((original, universal, gradient))
    with store.write(space, "vector_space/1", seed=seed, params=params, source=source) as file:
        store.put(file, {**arrays, **names, "ids": ids})
    components = len(arrays["energy_original"])
    return (
        f"{model}: {components} components span {arrays['energy_original'].sum():.1%} of the "
        f"images' energy and {arrays['energy'][0].sum():.1%} of the universal perturbations'"
    )


if __name__ == "__main__":
    run(main)
