"""Known truth: against brute force, linear programming and convex optimisation; and the twins."""

from collections.abc import Callable
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from advrob import images as sources
from advrob.attacks.apgd import AutoPGD
from advrob.attacks.pgd import PGD
from advrob.attacks.square import Square
from advrob.defences.downsample import Downsample
from advrob.defences.pca import PCA
from advrob.errors import UserError
from advrob.evaluation import calibration
from advrob.evaluation.calibration import LinearNetwork, calibrate, exact
from advrob.evaluation.twins import TWINS
from advrob.images.pixels import to_tensor
from advrob.job.compute import generator
from advrob.linear.linalg import Matrix
from advrob.networks import Network


def attacks(norm: str) -> dict[str, Callable[[float], calibration.Attack]]:
    """The library's attacks by name, as `calibrate` takes them."""

    makers = {
        "apgd_ce": lambda radius: AutoPGD(norm=norm, radius=radius, iterations=20),
        "apgd_dlr": lambda radius: AutoPGD(
            loss="logits_ratio", norm=norm, radius=radius, iterations=20
        ),
        "pgd": lambda radius: PGD(norm=norm, radius=radius, step=radius / 4, iterations=20),
    }
    if norm == "linf":
        makers["square"] = lambda radius: Square(radius=radius, queries=50)
    return makers


def violations(records: list[calibration.Record]) -> list[calibration.Record]:
    """What must not happen: an attack below the truth is an error of the evaluator."""
    return [record for record in records if record.violated]


def logistic_regression(images: np.ndarray, labels: np.ndarray, grid: int = 16) -> LinearNetwork:
    """Fitted to block means; so flat that it is right on a third of Imagenette within 8 levels."""
    means = F.adaptive_avg_pool2d(to_tensor(images), grid).flatten(1).numpy()
    fitted = LogisticRegression(C=1 / 300, max_iter=1000).fit(means, labels)
    weights = torch.from_numpy(fitted.coef_).unflatten(1, (3, grid, grid))
    classes = torch.from_numpy(fitted.classes_)
    return LinearNetwork(
        weights, torch.from_numpy(fitted.intercept_), classes, int(classes[-1]) + 1
    )


def away_from_box(network, images, labels, radius) -> np.ndarray:
    """For which images ``gap / |D| <= radius`` alone is the l_2 truth.

    Either they hold without the box, and then within it, or the shortest move that fools the
    network without the box stays within it.
    """
    affine_map = calibration.affine(network, images)
    weights = affine_map.weights.flatten(1)
    sure = []
    for image, own in zip(to_tensor(images).double().flatten(1), labels, strict=True):
        difference = weights - weights[own]
        gaps = (difference @ image + affine_map.bias - affine_map.bias[own]).clamp(max=0)
        lengths = difference.norm(dim=1)
        distances = torch.where(lengths > 0, -gaps / lengths, torch.inf)
        near = distances.argmin()
        moved = image + difference[near] * (distances[near] / lengths[near])
        inside = ((moved >= 0) & (moved <= 1)).all()
        sure.append(bool(distances[near] > radius / 255) or bool(inside))
    return np.array(sure)


def random_network(grid: int, classes: int, seed: int = 0) -> LinearNetwork:
    draw = torch.Generator().manual_seed(seed)
    weights = torch.randn(classes, 3, grid, grid, generator=draw)
    return LinearNetwork(weights, 0.1 * torch.randn(classes, generator=draw))


def photographs(count: int, side: int, seed: int = 0) -> np.ndarray:
    """8-bit images of which a fifth of the pixels lies at the border of the box."""
    drawn = np.random.default_rng(seed).integers(-40, 296, (count, side, side, 3))
    return drawn.clip(0, 255).astype(np.uint8)


def predictions(network: nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(to_tensor(images)).argmax(dim=1).numpy()


@pytest.fixture(scope="module")
def case() -> tuple[LinearNetwork, np.ndarray, np.ndarray]:
    """A network, images, and labels of which some are wrong."""
    network, images = random_network(4, 5), photographs(24, 16)
    labels = predictions(network, images)
    labels[::6] = (labels[::6] + 1) % 5
    return network, images, labels


def test_linf_agrees_with_every_vertex_of_the_ball():
    network, images = random_network(2, 3), photographs(30, 2)
    labels = predictions(network, images)
    radius = 9
    signs = np.array(list(product((-radius, radius), repeat=12))).reshape(-1, 2, 2, 3)
    expected = [
        (predictions(network, (image + signs).clip(0, 255).astype(np.uint8)) == label).all()
        for image, label in zip(images, labels, strict=True)
    ]
    robust = exact(network, images, labels, "linf", radius).tolist()
    assert robust == expected
    assert 0 < sum(expected) < len(expected)


def test_linf_agrees_with_linear_programming(case):
    network, images, labels = case
    radius = 6
    affine_map = calibration.affine(network, images)
    worst = calibration.worst_linf(affine_map, images, labels, radius)
    weights, bias = affine_map.weights.flatten(1).numpy(), affine_map.bias.numpy()
    for image, label, row in zip(images[:6], labels, worst, strict=False):
        pixels = image.transpose(2, 0, 1).ravel() / 255
        reach = radius / 255
        bounds = np.stack([(pixels - reach).clip(0), (pixels + reach).clip(max=1)], axis=1)
        for other in set(range(5)) - {label}:
            difference = weights[other] - weights[label]
            best = -linprog(-difference, bounds=bounds).fun + bias[other] - bias[label]
            assert row[other] == pytest.approx(best, abs=1e-6)


def test_l2_inside_the_box_agrees_with_convex_optimisation():
    draw = np.random.default_rng(4)
    for _ in range(8):
        row, image, radius = draw.normal(size=12), draw.random(12), draw.uniform(0.2, 2)
        best = minimize(
            lambda move, row=row: -row @ move,
            np.zeros(12),
            jac=lambda move, row=row: -row,
            bounds=np.stack([-image, 1 - image], axis=1),
            constraints={
                "type": "ineq",
                "fun": lambda move, radius=radius: radius**2 - move @ move,
                "jac": lambda move: -2 * move,
            },
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        gain = calibration._gain(torch.from_numpy(row), torch.from_numpy(image), radius)
        assert gain.item() == pytest.approx(-best.fun, rel=1e-5)


def test_l2_away_from_the_box_is_the_distance_to_the_boundary(case):
    network, images, labels = case
    affine_map = calibration.affine(network, images)
    logits = affine_map.logits(to_tensor(images)).numpy()
    weights = affine_map.weights.flatten(1).numpy()
    distances = [
        min(
            255 * (row[own] - row[k]) / np.linalg.norm(weights[own] - weights[k])
            for k in range(5)
            if k != own
        )
        for row, own in zip(logits, labels, strict=True)
    ]
    radius = float(np.median(distances))
    sure = away_from_box(network, images, labels, radius)
    truth = exact(network, images, labels, "l2", radius).numpy()
    unbounded = np.array(distances) > radius
    assert sure.mean() > 0.5
    np.testing.assert_array_equal(truth[sure], unbounded[sure])
    assert (truth >= unbounded).all(), "the box takes moves away and adds none"


def test_the_box_saves_what_the_closed_form_gives_up():
    # White, and the other class wins only where it is brighter.
    network = LinearNetwork(
        torch.stack([torch.zeros(3, 1, 1), torch.ones(3, 1, 1)]), torch.tensor([3.1, 0])
    )
    white, labels = np.full((1, 4, 4, 3), 255, np.uint8), np.array([0])
    assert exact(network, white, labels, "l2", 500).all()
    assert not away_from_box(network, white, labels, 500).any()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_equal_classes_the_first_wins_as_in_argmax(order):
    network = LinearNetwork(torch.zeros(2, 3, 1, 1), torch.zeros(2))
    images, labels = photographs(1, 4), np.array([order[0]])
    assert exact(network, images, labels, "linf", 1).item() == (
        predictions(network, images) == labels
    )


def test_downsampling_and_principal_components_have_an_exact_truth(case):
    network, images, labels = case
    rows = images.reshape(len(images), -1) / 255
    basis = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2][:5]
    defence = PCA(components=5)
    defence.register_buffer("mean", torch.from_numpy(rows.mean(axis=0)).float())
    defence.components = Matrix(torch.from_numpy(basis).float())
    affine_map = calibration.affine(Network(defence, network), images)
    # The weights are projected as images are: B^T B is symmetric.
    averages = F.adaptive_avg_pool2d(torch.eye(256).view(256, 1, 16, 16), 4).flatten(1).double()
    pixels = (network.weights.flatten(2) @ averages.T).permute(0, 2, 1).flatten(1).numpy()
    expected = (pixels @ basis.T @ basis).reshape(5, 16, 16, 3).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(affine_map.weights.numpy(), expected, atol=1e-6)
    behind = Network(Downsample(ratio=0.5), network)
    records = calibrate(
        behind, images, labels, attacks("linf"), [4], norm="linf", generator=generator(0)
    )
    assert not violations(records)
    gaps = {record.attack: record.gap for record in records}
    assert gaps["apgd_dlr"] == 0


@pytest.mark.parametrize(("norm", "radii"), [("linf", [1, 4, 12]), ("l2", [20, 80, 200])])
def test_no_attack_finds_less_than_the_truth(case, norm, radii):
    network, images, labels = case
    records = calibrate(
        network, images, labels, attacks(norm), radii, norm=norm, generator=generator(1)
    )
    assert not violations(records)
    assert all(record.gap >= 0 and not record.outside and not record.error for record in records)
    worst = [record for record in records if record.attack == calibration.WORST_CASE]
    assert [record.radius for record in worst] == radii
    assert all(record.gap <= 0.05 for record in worst)
    assert worst[0].truth > worst[-1].truth
    assert set(asdict(worst[0])) >= {"attack", "radius", "truth", "found", "gap", "violated"}


def test_an_attack_that_leaves_the_ball_fools_nobody(case):
    network, images, labels = case

    def negative(network: nn.Module, images: Tensor, labels: Tensor, **_: object) -> Tensor:
        return 1 - images

    record, _ = calibrate(
        *(network, images, labels, {"negative": lambda _: negative}, [1]),
        norm="linf",
        generator=generator(0),
    )
    assert record.outside == len(images)
    assert not violations([record])
    assert record.found == np.mean(predictions(network, images) == labels)


def test_an_attack_below_the_truth_is_impossible(case, monkeypatch):
    network, images, labels = case
    options = {"norm": "linf", "generator": generator(1)}
    monkeypatch.setitem(
        calibration.WORST, "linf", lambda *arguments: calibration.worst_linf(*arguments[:3], 0)
    )
    records = calibrate(network, images, labels, attacks("linf"), [12], **options)
    assert violations(records)
    assert records[0].violated == round(-records[0].gap * len(images))


def test_templates_are_the_nearest_class_means():
    images, labels = photographs(12, 10, seed=6), np.arange(12) % 4
    network = calibration.templates(images, labels, grid=5)
    means = F.adaptive_avg_pool2d(to_tensor(images), 5).flatten(1).numpy()
    centres = np.stack([means[labels == k].mean(axis=0) for k in range(4)])
    distances = ((means[:, None] - centres) ** 2).sum(axis=2)
    np.testing.assert_allclose(
        network(to_tensor(images)).numpy(), (means**2).sum(axis=1)[:, None] - distances, atol=1e-5
    )


@pytest.mark.parametrize("side", [16, 18, 4, 3])
def test_block_means_are_those_of_adaptive_pooling(side):
    images = to_tensor(photographs(2, side))
    expected = F.adaptive_avg_pool2d(images, 4)
    torch.testing.assert_close(calibration.block_means(images.double(), 4).float(), expected)


def test_what_has_no_known_truth_is_refused(case):
    network, images, labels = case
    with pytest.raises(UserError, match="whole number of levels"):
        exact(network, images, labels, "linf", 0.5)
    with pytest.raises(UserError, match="affine map"):
        exact(nn.Sequential(network, nn.ReLU()), images, labels, "linf", 1)
    with pytest.raises(UserError, match="the classes that the network knows"):
        exact(network, images, labels + 3, "linf", 1)
    with pytest.raises(UserError, match="at least two"):
        calibration.templates(images, np.zeros(24, np.int64))
    with pytest.raises(UserError, match=r"go from 1 to 4, expected 0 to 1\. Correct the labels"):
        calibration.templates(images, labels, classes=2)


@pytest.mark.parametrize("name", TWINS)
def test_twins_predict_what_the_honest_network_predicts(case, name):
    network, images, _ = case
    twin = TWINS[name](network, generator(2)).eval()
    expected = network(to_tensor(images))
    with torch.no_grad():
        logits = twin(to_tensor(images))
    if name in ("noise", "crops"):
        with torch.no_grad():
            draws = torch.stack([twin(to_tensor(images)) for _ in range(400)])
        error = draws.std(dim=0) / 20
        assert ((draws.mean(dim=0) - expected).abs() < 5 * error + 1e-5).all()
        assert draws.std(dim=0).min() > 1e-3
        return
    assert logits.argmax(dim=1).equal(expected.argmax(dim=1))


@pytest.mark.parametrize("name", ["rounding", "detached", "log_saturated", "random_signs", "decoy"])
def test_twins_fool_gradients_and_not_the_truth(case, name):
    network, images, labels = case
    twin = TWINS[name](network, generator(2)).eval()
    gradient = {"apgd_ce": attacks("linf")["apgd_ce"]}
    options = {"norm": "linf", "honest": network}
    masked = calibrate(twin, images, labels, gradient, [12], generator=generator(1), **options)
    honest = calibrate(network, images, labels, gradient, [12], norm="linf", generator=generator(1))
    assert masked[0].truth == honest[0].truth
    assert masked[0].gap > honest[0].gap + 0.1
    assert (masked[0].error != "") == (name == "detached")
    assert not violations(masked)


def test_imagenette_has_the_robustness_that_is_known(shared: Path):
    """A logistic regression on 16 x 16 means of Imagenette keeps some accuracy out to 16 levels."""
    root = shared / "data/imagenette"
    fit, fit_labels, _ = sources.load("tree", root, splits=["train"], per_class=120, size=64)
    test, labels, _ = sources.load("tree", root, splits=["val"], per_class=20, size=64)
    network = logistic_regression(fit, fit_labels)
    truth = [
        exact(network, test, labels, "linf", radius, network.row_classes).double().mean().item()
        for radius in (0, 1, 2, 4, 8, 16)
    ]
    assert truth[0] > 0.25
    assert truth == sorted(truth, reverse=True)
    assert truth[0] > truth[3] > truth[5]
    records = calibrate(
        *(network, test, labels, attacks("linf"), [2, 8]),
        norm="linf",
        generator=generator(0),
        classes=network.row_classes,
    )
    assert not violations(records)
    gaps = {(record.attack, record.radius): record.gap for record in records}
    assert gaps[calibration.WORST_CASE, 2] <= 0.01
    assert gaps["square", 8] > gaps["apgd_dlr", 8]
