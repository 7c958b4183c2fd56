"""Randomised smoothing against what is known of it in closed form."""

from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from advrob.evaluation import smoothing
from advrob.evaluation.smoothing import ABSTAINED, certificates, certify, lower_bound, votes
from advrob.job.compute import generator

CPU = torch.device("cpu")
SHAPE = (3, 4, 4)
SIGMA = 20.0


class Linear(nn.Module):
    """Two classes on the sides of a hyperplane at a known l_2 distance, in units of 1/255."""

    def __init__(self, image, distance):
        super().__init__()
        normal = torch.randn(SHAPE, generator=generator(0, "normal"))
        self.normal = normal / normal.norm()
        self.offset = distance / 255 - (self.normal * image).sum()

    def forward(self, images):
        side = (self.normal * images).sum((1, 2, 3)) + self.offset
        return torch.stack((-side, side), dim=1)


@pytest.fixture
def image():
    return torch.rand(SHAPE, generator=generator(0, "image"))


@pytest.mark.parametrize("n", [1, 20, 100, 1000])
def test_the_bound_is_clopper_and_pearsons(n):
    for successes in {0, 1, n // 2, n - 1, n}:
        for failure in (0.001, 0.05):
            expected = binomtest(successes, n).proportion_ci(1 - 2 * failure, "exact").low
            found = lower_bound(successes, n, failure)
            assert found == pytest.approx(expected, abs=1e-9)
    assert lower_bound(n, n) == pytest.approx(0.001 ** (1 / n))


@pytest.mark.parametrize("distance", [10.0, 20.0, 30.0])
def test_a_linear_classifiers_radius_is_its_distance(image, distance):
    """Its probability under noise is Phi(distance / sigma), so the certificate is tight."""
    found = certify(
        Linear(image, distance),
        image,
        sigma=SIGMA,
        draws=20_000,
        batch_size=4000,
        generator=generator(0, "certify", distance),
    )
    assert found.predicted == 1
    assert 0.88 * distance < found.radius < distance
    share = NormalDist().cdf(distance / SIGMA)
    assert found.count / 20_000 == pytest.approx(share, abs=5 * (0.25 / 20_000) ** 0.5)


def test_the_other_side_is_the_other_class(image):
    found = certify(
        Linear(image, -30.0),
        image,
        sigma=SIGMA,
        draws=1000,
        batch_size=300,
        generator=generator(0, "certify"),
    )
    assert found.predicted == 0
    assert 20 < found.radius < 30


def test_on_the_border_it_abstains_and_hardly_ever_certifies_too_much(image):
    border, near = Linear(image, 0.0), Linear(image, 10.0)
    options = {"sigma": SIGMA, "draws": 200, "batch_size": 200}
    certified, beyond = 0, 0
    for repeat in range(300):
        noise = generator(0, "repeat", repeat)
        certified += certify(border, image, generator=noise, **options).predicted != ABSTAINED
        beyond += certify(near, image, generator=noise, **options).radius > 10
    # Each has a probability of 0.1 %: more than 4 of 300 are expected once in 600,000 times.
    assert certified <= 4
    assert beyond <= 4


def test_a_class_is_not_chosen_by_the_draws_that_count_it(image):
    """A hundred classes at random: each draw's favourite is predicted in 1 % of the others."""

    class Dice(nn.Module):
        noise = generator(0, "dice")

        def forward(self, images):
            return torch.rand(len(images), 100, generator=self.noise)

    counts = [
        certify(
            Dice(), image, sigma=1, draws=100, batch_size=100, generator=generator(0, "c", repeat)
        ).count
        for repeat in range(100)
    ]
    assert np.mean(counts) == pytest.approx(1, abs=0.5)


def test_noise_is_gaussian_of_the_given_strength_and_not_clipped(image):
    seen = []

    class Spy(nn.Module):
        def forward(self, images):
            seen.append(images)
            return images.mean((2, 3))

    total = votes(
        Spy(), image, sigma=SIGMA, draws=2500, batch_size=1000, generator=generator(0, "votes")
    )
    assert [len(batch) for batch in seen] == [1000, 1000, 500]
    assert total.sum() == 2500
    noise = (torch.cat(seen) - image) * 255
    assert noise.std() == pytest.approx(SIGMA, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.3)
    assert (noise.abs() < SIGMA).float().mean() == pytest.approx(0.6827, abs=0.005)
    assert torch.cat(seen).max() > 1
    assert len(torch.cat(seen)[:, 0, 0, 0].unique()) > 2490


def test_certificates_go_on_where_they_were_cut(tmp_path, image, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    network = Linear(torch.full(SHAPE, 0.5), 5.0)

    def run(name):
        return certificates(
            network,
            images,
            sigmas=[5.0, 40.0],
            draws=50,
            batch_size=20,
            device=CPU,
            generator=lambda row, number: generator(0, "c", row, number),
            checkpoint=tmp_path / name,
        )

    whole = run("whole")
    assert [len(row) for row in whole] == [3, 3]
    calls = []

    def cut(*arguments, **options):
        calls.append(options["sigma"])
        if len(calls) == 5:
            raise KeyboardInterrupt
        return certify(*arguments, **options)

    monkeypatch.setattr(smoothing, "certify", cut)
    with pytest.raises(KeyboardInterrupt):
        run("cut")
    assert run("cut") == whole
    assert calls == [5.0] * 3 + [40.0] * 2 + [40.0] * 2
