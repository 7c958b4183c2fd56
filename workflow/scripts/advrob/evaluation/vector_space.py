"""How attacked images lie in image space: along principal components, in features, at boundaries.

The paper's abstract promises such an analysis, its pages have none. Here a perturbation is the
difference of an attacked image, in 8 bits, and its original.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from advrob import models
from advrob.attacks.control import controlled, signs
from advrob.attacks.deepfool import deepfool
from advrob.defences import Defence
from advrob.files import store
from advrob.files.identities import photograph
from advrob.files.rows import ImageRows
from advrob.images.pixels import to_tensor
from advrob.job import compute
from advrob.job.compute import Job
from advrob.job.progress import progress
from advrob.linear import linalg
from advrob.models.prediction import decided
from advrob.networks import build_defence, build_model
from advrob.plan.plan import NetworkDescription

# Pixels in units of 1/255, from the images' mean; their coordinates along the principal components,
# in the same units; what the last layer of the network sees, in units of its own
# (its logits where it has no such layer).
SPACES = ("pixels", "components", "features")


def draw(ids: Sequence[str], count: int, generator: torch.Generator) -> np.ndarray:
    """Row numbers of up to ``count`` images in random order, the first view of each photograph."""
    first: dict[str, int] = {}
    for row, identity in enumerate(ids):
        first.setdefault(photograph(identity), row)
    rows = np.array(list(first.values()))
    return rows[torch.randperm(len(rows), generator=generator)[:count].numpy()]


def read(
    original: str, attacked: Mapping[str, str], count: int, generator: torch.Generator
) -> tuple[list[str], np.ndarray, dict[str, np.ndarray]]:
    """Some images and what attacks made of them.

    Args:
        original: an images file.
        attacked: attack -> the file of the same images after it.
        count: images to `draw`.
        generator: draws them.

    Returns:
        Ids, and 8-bit images ``(n, H, W, 3)``: the originals, and by attack.

    Raises:
        UserError: the files are not about the same images.
    """
    with store.read(original, "images/1") as file:
        ids = store.strings(file["ids"])
    rows = draw(ids, count, generator)
    images = []
    for path in (original, *attacked.values()):
        with store.read(path, "images/1") as file:
            store.check_ids(path, store.strings(file["ids"]), original, ids)
            images.append(ImageRows(file["images"], rows)[:])
    return [ids[row] for row in rows], images[0], dict(zip(attacked, images[1:], strict=True))


def analyse(
    networks: Mapping[str, NetworkDescription],
    ids: Sequence[str],
    images: np.ndarray,
    attacked: dict[str, np.ndarray],
    experiment: Mapping[str, Any],
    job: Job,
) -> dict[str, Any]:
    """Measure one model's image space.

    Args:
        networks: defence -> the description of the model behind it; ``pca`` is one of them.
        ids: of the n images.
        images: 8-bit originals ``(n, H, W, 3)``.
        attacked: attack -> the same images after it; random changes are added.
        experiment: the configuration's ``experiments.vector_space``.
        job: seed, device and batch size.

    Returns:
        The arrays of a file of image space.
    """
    common: dict[str, Any] = {"batch_size": job.batch_size, "device": job.device}

    def build(name: str) -> Defence:
        generator = torch.Generator(job.device)
        return build_defence(networks[name], generator=generator, device=job.device)

    draw = np.random.default_rng(compute.number(job.seed, "vector_space", "signs"))
    attacked = attacked | {"random": controlled(images, attacked["universal"], signs, draw)}
    model: Any = build_model(networks["pca"], device=job.device)
    pca: Any = build("pca")
    arrays: dict[str, Any] = displacements(
        images, attacked, model=model, centre=pca.mean, basis=pca.components(), **common
    )
    del pca
    left = []
    for name in networks:
        print(f"what {name} leaves of them", flush=True)

        def generator(start: int, name: str = name) -> torch.Generator:
            return job.generator("vector_space", name, start)

        left.append(retained(build(name), images, attacked, generator=generator, **common))
    arrays |= {measure: np.stack([values[measure] for values in left]) for measure in left[0]}
    directions = normals(model, images[: experiment["normals"]], **common)
    units = compute.generator(job.seed, "vector_space", "units")
    arrays["singular_normals"] = singular_values(directions)
    count, dimension = directions.shape
    arrays["singular_random"] = singular_values(random_units(count, dimension, units))
    names = {"attacks": list(attacked), "spaces": SPACES, "defences": list(networks), "ids": ids}
    return arrays | names


# Not inference mode: a network may keep a tensor of this pass for one that needs gradients.
@torch.no_grad()
def displacements(
    original: np.ndarray,
    attacked: Mapping[str, np.ndarray],
    *,
    model: nn.Module,
    centre: Tensor,
    basis: Tensor,
    batch_size: int,
    device: torch.device,
) -> dict[str, np.ndarray]:
    """How far and in which directions a attacks move n images, in each of the s `SPACES`.

    Args:
        original: 8-bit images ``(n, H, W, 3)``.
        attacked: attack -> the same images after it.
        model: images in [0, 1] to logits.
        centre: the mean of the images that the basis was fitted to, ``(d,)`` in [0, 1], in the
            stored order ``(H, W, 3)``.
        basis: k principal components, orthonormal rows ``(k, d)``.
        batch_size: images at a time.
        device: where model, centre and basis are.

    Returns:
        ``energy_original`` (k,), the share of the originals' squared distance from ``centre`` that
        lies along each component; ``energy`` (a, k), the same of the perturbations' squared
        length; what is missing to 1 lies outside the span. By attack, space and image, each
        (a, s, n): ``l2`` and ``linf`` of the displacement; ``relative``, its l_2 length as a share
        of the original's distance from the origin; ``angle`` in degrees between original and
        attacked, seen from there. ``similarity`` (a, s), the mean cosine between the displacements
        of different images. ``changed`` (a, n), whether the predicted class is another one.
        float64, but the last. Where an image has not moved it is left out of ``similarity``.
    """

    def views(batch: Tensor) -> tuple[list[Tensor], Tensor]:
        rows = (linalg.flatten(batch) - centre).mul_(255)
        features, logits = models.penultimate(model, batch)
        return [rows, rows @ basis.T, features], decided(logits)

    n, kinds = len(original), len(attacked)
    measures = {
        name: np.empty((kinds, len(SPACES), n)) for name in ("l2", "linf", "relative", "angle")
    }
    changed = np.empty((kinds, n), bool)
    energies = torch.zeros(1 + kinds, len(basis), dtype=torch.float64, device=device)
    totals = torch.zeros(1 + kinds, 1, dtype=torch.float64, device=device)
    directions = [[_Directions() for _ in SPACES] for _ in attacked]

    def add_energy(index: int, rows: Tensor, coordinates: Tensor) -> None:
        energies[index] += coordinates.double().square().sum(dim=0)
        totals[index] += rows.square().sum(dtype=torch.float64)

    starts = range(0, n, batch_size)
    for start in progress(starts, "batches located", len(starts)):
        part = slice(start, start + batch_size)
        before, predicted = views(to_tensor(original[part], device))
        add_energy(0, before[0], before[1])
        for kind, images in enumerate(attacked.values()):
            after, predicted_now = views(to_tensor(images[part], device))
            moves = [there - here for here, there in zip(before, after, strict=True)]
            add_energy(1 + kind, moves[0], moves[1])
            changed[kind, part] = (predicted_now != predicted).cpu().numpy()
            for space, (here, there, move) in enumerate(zip(before, after, moves, strict=True)):
                length = move.norm(dim=1)
                for name, values in (
                    ("l2", length),
                    ("linf", move.abs().amax(dim=1)),
                    ("relative", length / here.norm(dim=1)),
                    ("angle", _angle(here, there)),
                ):
                    measures[name][kind, space, part] = values.cpu().numpy()
                directions[kind][space].add(move)
    shares = (energies / totals).cpu().numpy()
    similarity = np.array([[space.mean_cosine() for space in kind] for kind in directions])
    return measures | {
        "energy_original": shares[0],
        "energy": shares[1:],
        "similarity": similarity,
        "changed": changed,
    }


class _Directions:
    """The mean cosine between all pairs of vectors, without the pairs.

    Of m unit vectors u, ``|sum u|^2`` is m and twice the sum of all pairs' cosines.
    """

    def __init__(self) -> None:
        self.count = 0
        self.sum: Tensor | float = 0.0

    def add(self, rows: Tensor) -> None:
        units, _ = unit(rows)
        self.count += len(units)
        self.sum = self.sum + units.sum(dim=0, dtype=torch.float64)

    def mean_cosine(self) -> float:
        if self.count < 2:
            return float("nan")
        squared = torch.as_tensor(self.sum).square().sum().item()
        return (squared - self.count) / (self.count * (self.count - 1))


def unit(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows ``(n, d)`` scaled to length 1, without those of length 0; and which remain, (n,)."""
    lengths = rows.norm(dim=1, keepdim=True)
    nonzero = lengths[:, 0] > 0
    return rows[nonzero] / lengths[nonzero], nonzero


def _angle(a: Tensor, b: Tensor) -> Tensor:
    # Of two unit vectors, tan(angle / 2) = |a - b| / |a + b|: small angles keep their precision.
    a, b = (nn.functional.normalize(rows, dim=1) for rows in (a, b))
    return 2 * torch.atan2((a - b).norm(dim=1), (a + b).norm(dim=1)).rad2deg()


@torch.inference_mode()
def retained(
    defence: Defence,
    original: np.ndarray,
    attacked: Mapping[str, np.ndarray],
    *,
    generator: Callable[[int], torch.Generator],
    batch_size: int,
    device: torch.device,
) -> dict[str, np.ndarray]:
    """What a defence D leaves of the perturbations v of n images x under a attacks.

    A stochastic defence draws the same numbers for ``D(x)`` and ``D(x + v)``: the difference is
    what becomes of the perturbation, without the defence's own noise.

    Args:
        defence: images to images.
        original: 8-bit images ``(n, H, W, 3)``.
        attacked: attack -> the same images after it.
        generator: gives the generator, always in the same state, for the batch that starts with
            that image.
        batch_size: images at a time.
        device: where the defence is.

    Returns:
        ``retained``, ``|D(x + v) - D(x)| / |v|`` in l_2, and ``cosine`` between ``D(x + v) - D(x)``
        and v, each float64 ``(a, n)``; not a number where v is 0, nor the cosine where nothing of v
        is left.
    """

    def defend(images: np.ndarray, start: int) -> tuple[Tensor, Tensor]:
        batch = to_tensor(images[start : start + batch_size], device)
        defence.generator = generator(start)
        return linalg.flatten(batch), linalg.flatten(defence(batch))

    measures = {name: np.empty((len(attacked), len(original))) for name in ("retained", "cosine")}
    starts = range(0, len(original), batch_size)
    for start in progress(starts, "batches defended", len(starts)):
        plain, plain_defended = defend(original, start)
        for kind, images in enumerate(attacked.values()):
            moved, moved_defended = defend(images, start)
            before, after = moved - plain, moved_defended - plain_defended
            lengths, lengths_after = before.norm(dim=1), after.norm(dim=1)
            part = slice(start, start + len(plain))
            measures["retained"][kind, part] = (lengths_after / lengths).cpu().numpy()
            cosine = (before * after).sum(dim=1) / lengths / lengths_after
            measures["cosine"][kind, part] = cosine.cpu().numpy()
    return measures


def normals(
    network: nn.Module, images: np.ndarray, *, batch_size: int, device: torch.device
) -> Tensor:
    """Unit normals to the decision boundary near images: the directions of their DeepFool steps.

    Moosavi-Dezfooli, Fawzi, Fawzi and Frossard, "Universal adversarial perturbations" (2017),
    section 4: the smallest perturbation that changes a prediction is orthogonal to the boundary
    where it meets it.

    Args:
        network: images in [0, 1] to logits.
        images: 8-bit ``(n, H, W, 3)``.
        batch_size: images at a time.
        device: where the network is.

    Returns:
        float32 ``(m, d)``, at most one row an image: those without a gradient have none.
    """
    units = []
    starts = range(0, len(images), batch_size)
    for start in progress(starts, "batches of normals", len(starts)):
        batch = to_tensor(images[start : start + batch_size], device)
        units.append(unit(linalg.flatten(deepfool(network, batch)))[0])
    return torch.cat(units)


def random_units(count: int, dimension: int, generator: torch.Generator) -> Tensor:
    """Independent vectors ``(count, dimension)``, float32, uniform on the unit sphere."""
    return unit(torch.randn(count, dimension, generator=generator))[0]


def singular_values(rows: Tensor) -> np.ndarray:
    """Singular values of ``(m, d)``, m <= d, falling, float64 ``(m,)``.

    They are the square roots of the eigenvalues of the m x m Gram matrix, so what is below 1e-8 of
    the largest is rounding.
    """
    products = linalg.inner_products(rows)
    return torch.linalg.eigvalsh(products).flip(0).clamp(min=0).sqrt().cpu().numpy()
