"""Randomised smoothing against what is known of it in closed form, and against ART's."""

from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy.stats import beta, binom, binomtest
from torch import nn

from advrob import defences
from advrob.errors import UserError
from advrob.evaluation import smoothing
from advrob.evaluation.smoothing import (
    ABSTAINED,
    SELECTION,
    Certification,
    blocks,
    certificates,
    lower_bound,
    needed,
    radius,
    stops,
    votes,
)
from advrob.job.compute import generator
from advrob.networks import Network
from advrob.plan.certificates import FAILURE

CPU = torch.device("cpu")
# A multiple of 16 numbers, as every photograph of even sides has: PyTorch then draws the same
# normal numbers for one image after the other as for all at once.
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


class Spy(nn.Module):
    """Keeps what it sees; the class is the image's largest mean channel."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(images)
        return images.mean((2, 3))


def certify(network, image, *, noise, **options):
    """One image alone."""
    group = Certification(network, [image], generators=[noise], **options)
    while not group.done:
        group.look()
    return group.certificates()[0]


@pytest.fixture
def image():
    return torch.rand(SHAPE, generator=generator(0, "image"))


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (7, 4, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize("n", [1, 20, 100, 1000])
def test_the_bound_is_clopper_and_pearsons(n):
    for successes in {0, 1, n // 2, n - 1, n}:
        for failure in (0.001, 0.05):
            expected = binomtest(successes, n).proportion_ci(1 - 2 * failure, "exact").low
            bound = lower_bound(successes, n, failure)
            assert bound == pytest.approx(expected, abs=1e-9)
            if successes:
                quantile = beta.ppf(failure, successes, n - successes + 1)
                assert bound == pytest.approx(quantile, abs=1e-9)
    assert lower_bound(n, n) == pytest.approx(0.001 ** (1 / n))


def test_the_bound_is_that_of_statsmodels():
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    for successes, n in ((0, 10), (7, 10), (930, 1000), (1000, 1000)):
        low, _ = proportion.proportion_confint(successes, n, alpha=0.002, method="beta")
        assert lower_bound(successes, n) == pytest.approx(low, abs=1e-9)


@pytest.mark.parametrize("distance", [10.0, 20.0, 30.0])
def test_a_linear_classifiers_radius_approaches_its_distance_from_below(image, distance):
    """Its probability under noise is Phi(distance / sigma), so the certificate is tight."""
    gaps = []
    for draws in (500, 5_000, 50_000):
        certificate = certify(
            Linear(image, distance),
            image,
            sigma=SIGMA,
            draws=draws,
            batch_size=5000,
            noise=generator(0, "certify", distance),
        )
        assert certificate.predicted == 1
        assert certificate.drawn == draws
        share = NormalDist().cdf(distance / SIGMA)
        assert certificate.count / draws == pytest.approx(share, abs=5 * (0.25 / draws) ** 0.5)
        gaps.append(distance - certificate.radius)
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[2] < 0.06 * distance


def test_the_other_side_is_the_other_class(image):
    certificate = certify(
        Linear(image, -30.0),
        image,
        sigma=SIGMA,
        draws=1000,
        batch_size=300,
        noise=generator(0, "certify"),
    )
    assert certificate.predicted == 0
    assert 20 < certificate.radius < 30


@pytest.mark.parametrize("smallest", [0.0, 8.0])
def test_it_hardly_ever_certifies_too_much_stopped_early_or_not(image, smallest):
    border, near = Linear(image, 0.0), Linear(image, 10.0)
    options = {"sigma": SIGMA, "draws": 200, "batch_size": 200, "smallest": smallest}
    certified, beyond = 0, 0
    for repeat in range(300):
        noise = generator(0, "repeat", repeat)
        certified += certify(border, image, noise=noise, **options).predicted != ABSTAINED
        beyond += certify(near, image, noise=noise, **options).radius > 10
    # Each has a probability of 0.1 %: more than 4 of 300 are expected once in 600,000 times.
    assert certified <= 4
    assert beyond <= 4


def test_a_class_is_not_chosen_by_the_draws_that_count_it(image, monkeypatch):
    """A hundred classes at random: each draw's favourite is predicted in 1 % of the others."""
    monkeypatch.setattr(smoothing, "stops", lambda *arguments, **options: False)

    class Dice(nn.Module):
        noise = generator(0, "dice")

        def forward(self, images):
            return torch.rand(len(images), 100, generator=self.noise)

    counts = [
        certify(
            Dice(), image, sigma=1, draws=100, batch_size=100, noise=generator(0, "c", repeat)
        ).count
        for repeat in range(100)
    ]
    assert np.mean(counts) == pytest.approx(1, abs=0.5)


def test_noise_is_gaussian_of_the_given_strength_and_not_clipped(image):
    network = Spy()
    total = votes(
        network,
        [image],
        sigma=SIGMA,
        draws=2500,
        batch_size=1000,
        generators=[generator(0, "votes")],
    )
    assert [len(batch) for batch in network.seen] == [1000, 1000, 500]
    assert total.sum() == 2500
    noise = (torch.cat(network.seen) - image) * 255
    assert noise.std() == pytest.approx(SIGMA, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.3)
    assert (noise.abs() < SIGMA).float().mean() == pytest.approx(0.6827, abs=0.005)
    assert torch.cat(network.seen).max() > 1
    assert len(torch.cat(network.seen)[:, 0, 0, 0].unique()) > 2490


def test_batches_are_filled_across_images_and_change_no_draw(image):
    images = [image, image.flip(1), image.flip(2)]

    def run(batch_size):
        network = Spy()
        total = votes(
            network,
            images,
            sigma=SIGMA,
            draws=50,
            batch_size=batch_size,
            generators=[generator(0, "votes", number) for number in range(3)],
        )
        return total, network.seen

    total, seen = run(64)
    assert [len(batch) for batch in seen] == [64, 64, 22]
    assert total.sum(dim=1).tolist() == [50, 50, 50]
    for number, clean in enumerate(images):
        noise = torch.randn((50, 4, 4, 3), generator=generator(0, "votes", number))
        expected = clean + (SIGMA / 255 * noise).permute(0, 3, 1, 2)
        noisy = torch.cat(seen)[50 * number :][:50]
        torch.testing.assert_close(noisy, expected, rtol=0, atol=1e-6)
        assert expected.mean((2, 3)).argmax(1).bincount(minlength=3).equal(total[number])
    other, _ = run(7)
    assert total.equal(other)


def test_blocks_are_all_draws():
    for draws in (1, 99, 100, 101, 1000, 12_345):
        sizes = list(blocks(draws))
        assert sum(sizes) == draws
        assert max(sizes) <= smoothing.BLOCK
    assert list(blocks(1000)) == [100, 100, 200, 400, 200]


@pytest.mark.parametrize(("draws", "smallest"), [(100, 0.0), (1000, 0.0), (1000, 30.0)])
def test_the_count_needed_is_the_first_that_is_enough(draws, smallest):
    aim = needed(draws, SIGMA, smallest)
    assert radius(aim, draws, SIGMA) >= smallest
    assert radius(aim, draws, SIGMA) > 0
    before = radius(aim - 1, draws, SIGMA)
    assert before == 0 or before < smallest


def test_a_radius_that_no_draws_certify_is_refused():
    limit = SIGMA * NormalDist().inv_cdf(0.001 ** (1 / 100))
    assert needed(100, SIGMA, limit - 1e-6) == 100
    with pytest.raises(
        UserError, match="100 draws of noise of sigma 20 certify a radius of at most 30"
    ):
        needed(100, SIGMA, limit + 1e-6)
    with pytest.raises(UserError, match="Raise draws"):
        needed(9, SIGMA, 0.0)


@pytest.mark.parametrize("smallest", [0.0, 15.0])
def test_stopping_forgoes_no_more_than_it_says(smallest):
    """The exact probability, look by look, for an image that is certified every other time."""
    draws = 1000
    aim = needed(draws, SIGMA, smallest)
    p, forgone = aim / draws, 0.0
    # The distribution of the count among images that are not stopped yet.
    alive, drawn = np.ones(1), 0
    for size in blocks(draws):
        alive, drawn = np.convolve(alive, binom.pmf(np.arange(size + 1), size, p)), drawn + size
        stopped = np.array(
            [stops(count, drawn, aim=aim, draws=draws) for count in range(drawn + 1)]
        )
        if drawn < draws:
            forgone += alive[stopped].sum()
            alive[stopped] = 0
    selection = np.arange(SELECTION + 1)
    stopped = [stops(count, SELECTION, aim=aim, draws=draws) for count in selection]
    forgone += binom.pmf(selection, SELECTION, p)[stopped].sum()
    assert 0 < forgone < smoothing.FORGONE


def test_stopping_saves_draws_and_changes_no_certificate(monkeypatch, image):
    """Images at distances from 0 to 40 from a border: one out of three is certified to 15."""
    distances = [0.0, 2.0, 5.0, 10.0, 14.0, 20.0, 25.0, 30.0, 40.0]

    def run(**options):
        group = []
        for distance in distances:
            noise = generator(0, "stop", distance)
            network = Linear(image, distance)
            group.append(
                certify(
                    network, image, sigma=SIGMA, draws=2000, batch_size=1000, noise=noise, **options
                )
            )
        return group

    stopped = run(smallest=15.0)
    monkeypatch.setattr(smoothing, "stops", lambda *arguments, **options: False)
    whole = run()
    for few, all_draws in zip(stopped, whole, strict=True):
        assert all_draws.drawn == 2000
        assert few == all_draws or (few.predicted == ABSTAINED and all_draws.radius < 15)
    assert sum(each.radius >= 15 for each in stopped) == sum(each.radius >= 15 for each in whole)
    assert sum(each.drawn for each in stopped) < 0.7 * sum(each.drawn for each in whole)
    assert stopped[0].drawn < 2000
    assert stopped[-1].drawn == 2000


def options(network, pictures, checkpoint):
    return {
        "network": network,
        "images": pictures,
        "sigmas": [5.0, 40.0],
        "draws": 150,
        "batch_size": 64,
        "device": CPU,
        "generator": lambda row, number: generator(0, "c", row, number),
        "checkpoint": checkpoint,
    }


def test_together_images_are_certified_as_alone(tmp_path, pictures):
    network = Linear(torch.full(SHAPE, 0.5), 5.0)
    together = certificates(**options(network, pictures, tmp_path / "checkpoint"))
    assert [len(row) for row in together] == [7, 7]
    assert len({each.predicted for row in together for each in row}) > 1
    for row, sigma in enumerate((5.0, 40.0)):
        for number, picture in enumerate(pictures):
            image = torch.from_numpy(picture).permute(2, 0, 1) / 255
            noise = generator(0, "c", row, number)
            alone = certify(network, image, sigma=sigma, draws=150, batch_size=1, noise=noise)
            assert alone == together[row][number]


def stochastic(image):
    noise = defences.build("noise", {"minimum": -40, "maximum": 40})
    return Network(noise, Linear(image, 2.0))


def deterministic(image):
    return Network(defences.build("bit_depth", {"bits": 3}), Linear(image, 2.0))


@pytest.mark.parametrize("build", [Linear, deterministic, stochastic])
def test_certificates_resume_where_they_were_cut(tmp_path, pictures, monkeypatch, build):
    image = torch.full(SHAPE, 0.5)
    network = build(image, 5.0) if build is Linear else build(image)
    whole = certificates(**options(network, pictures, tmp_path / "whole"))
    original, calls = Certification.look, []

    def cut(self):
        calls.append(self.sigma)
        if len(calls) in (2, 6):
            raise KeyboardInterrupt
        original(self)

    monkeypatch.setattr(Certification, "look", cut)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            certificates(**options(network, pictures, tmp_path / "cut"))
    assert certificates(**options(network, pictures, tmp_path / "cut")) == whole
    monkeypatch.undo()
    looks = calls.copy()
    monkeypatch.setattr(Certification, "look", lambda self: (calls.append(0), original(self)))
    calls.clear()
    certificates(**options(network, pictures, tmp_path / "again"))
    # Only the looks that were cut were taken again.
    assert len(looks) == len(calls) + 2


def test_noise_goes_before_the_defence_and_a_stochastic_one_draws_afresh(image):
    network = Network(defences.build("noise", {"minimum": 10, "maximum": 20}), Spy())
    group = Certification(
        network,
        [image, image],
        sigma=1e-4,
        draws=100,
        batch_size=50,
        generators=[generator(0, "a"), generator(0, "b")],
    )
    while not group.done:
        group.look()
    seen = torch.cat(network.model.seen)
    assert len(seen[:, 0, 0, 0].unique()) == len(seen)
    added = (seen - image) * 255
    assert added.min() > -0.01 + 255 * (1 - image.max()).clamp(max=10 / 255)
    assert 14.5 < added[(image < 0.9).expand_as(added)].mean() < 15.5
    # The defence's own draws take nothing from the noise.
    rest = torch.randn(16, generator=group.generators[0])
    bare = generator(0, "a")
    for _ in range(200):
        torch.randn(4, 4, 3, generator=bare)
    assert rest.equal(torch.randn(16, generator=bare))


def test_counts_classes_and_radii_are_those_of_art(image):
    """The same draws through an implementation of others."""
    art = pytest.importorskip("art.estimators.certification.randomized_smoothing")
    pytest.importorskip("statsmodels")
    draws, names = 400, [0.0, 3.0, 10.0, 25.0, -40.0]
    for distance in names:
        network, noise = Linear(image, distance), generator(0, "art", distance)

        class Same(art.PyTorchRandomizedSmoothing):
            counted = ()

            def _noisy_samples(self, x, n=None, noise=noise):
                drawn = torch.randn((n, 4, 4, 3), generator=noise).permute(0, 3, 1, 2).numpy()
                return x[None] + self.scale * drawn

            def _prediction_counts(self, x, n=None, batch_size=128):
                self.counted = super()._prediction_counts(x, n, batch_size)
                return self.counted

        theirs = Same(
            network,
            nn.CrossEntropyLoss(),
            input_shape=SHAPE,
            nb_classes=2,
            device_type="cpu",
            sample_size=SELECTION,
            scale=SIGMA / 255,
            alpha=FAILURE,
        )
        (predicted,), (reached,) = theirs.certify(image[None].numpy(), draws)
        options = {"sigma": SIGMA, "draws": draws, "batch_size": 100}
        certificate = certify(network, image, noise=generator(0, "art", distance), **options)
        assert certificate.predicted == predicted
        assert certificate.radius == pytest.approx(reached * 255, rel=1e-6)
        if predicted != ABSTAINED:
            assert certificate.count == theirs.counted[predicted]


@pytest.mark.parametrize("draws", [11, 100, 10_000])
def test_the_plan_knows_what_draws_can_certify_at_most(draws):
    most = 3 * NormalDist().inv_cdf(FAILURE ** (1 / draws))
    assert smoothing.radius(draws, draws, 3) == pytest.approx(most)
