import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, multinomial

from advrob.files import identities
from advrob.findings import metrics


@pytest.mark.parametrize("n", [1, 2, 20, 500, 2000])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_agrees_with_scipy(n: int, confidence: float) -> None:
    for successes in {0, 1, n // 3, n - 1, n}:
        expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
        interval = metrics.wilson(successes, n, confidence)
        assert interval == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_stays_inside_zero_and_one() -> None:
    for n in range(1, 200):
        assert metrics.wilson(0, n)[0] == 0
        assert metrics.wilson(n, n)[1] == 1


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 10), (11, 10)])
def test_wilson_refuses_what_is_no_proportion(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="not a proportion"):
        metrics.wilson(successes, n)


def test_accuracy_of_single_images_is_the_binomial_one() -> None:
    correct = np.arange(100) < 70
    result = metrics.accuracy(correct, [f"val/n01440764/{i}.JPEG" for i in range(100)])
    assert (result.n, result.photographs, result.correct, result.accuracy) == (100, 100, 70, 0.7)
    assert (result.low, result.high) == metrics.wilson(70, 100)


def test_crops_narrow_no_interval() -> None:
    correct = np.arange(100) < 70
    crops = metrics.accuracy(correct, [f"photo{i // 5}.jpg#{i % 5}" for i in range(100)])
    assert (crops.n, crops.photographs, crops.accuracy) == (100, 20, 0.7)
    assert (crops.low, crops.high) == metrics.wilson(14, 20)


def test_a_hash_in_a_file_name_is_no_crop() -> None:
    assert identities.photograph("a/take#2.jpg#3") == "a/take#2.jpg"
    assert identities.photograph("a/take#2.jpg") == "a/take#2.jpg"


def test_accuracy_refuses_no_images_and_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="not a proportion"):
        metrics.accuracy(np.array([], dtype=bool), [])
    with pytest.raises(ValueError, match="3 results for 1 ids"):
        metrics.accuracy(np.ones(3, dtype=bool), ["a"])


def test_select_looks_at_file_names_only() -> None:
    ids = [
        "val/n01440764/ILSVRC2012_val_00000293.JPEG",
        "val/n01440764/n01440764_10040.JPEG",
        "train/n02102040/ILSVRC2012_val_00000665.JPEG#1",
        "ILSVRC2012_val_/other.JPEG",
    ]
    assert identities.select(ids, "ILSVRC2012_val_*").tolist() == [True, False, True, False]
    assert identities.select(ids, "*.JPEG").all()
    assert identities.select(ids, None).all()


@pytest.mark.parametrize(
    ("wins", "losses"), [(0, 0), (1, 0), (5, 5), (3, 9), (40, 12), (0, 30), (900, 1000), (7, 6)]
)
def test_mcnemar_is_a_binomial_test(wins: int, losses: int) -> None:
    expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1
    assert metrics.mcnemar(wins, losses) == pytest.approx(expected, rel=1e-9)
    assert metrics.mcnemar(losses, wins) == metrics.mcnemar(wins, losses)


def test_compare_counts_pairs() -> None:
    first = np.array([1, 1, 1, 1, 1, 1, 0, 0, 1], dtype=bool)
    second = np.array([0, 0, 0, 0, 0, 0, 1, 0, 1], dtype=bool)
    result = metrics.compare(first, second, [str(i) for i in range(9)])
    assert (result.n, result.photographs, result.wins, result.losses) == (9, 9, 6, 1)
    assert result.difference == pytest.approx(5 / 9)
    assert result.p == pytest.approx(2 * (1 + 7) / 2**7)


def test_compare_counts_photographs_not_crops() -> None:
    """Three crops of one photograph that all agree are one observation; a tie is none."""
    ids = [f"{photograph}#{crop}" for photograph in "abcd" for crop in range(3)]
    first = np.array([1, 1, 1, 1, 1, 0, 0, 1, 0, 1, 0, 0], dtype=bool)
    second = np.array([0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1], dtype=bool)
    result = metrics.compare(first, second, ids)
    assert (result.n, result.photographs, result.wins, result.losses) == (12, 4, 2, 1)
    assert result.p == 1


def test_compare_refuses_unequal_lengths_and_no_images() -> None:
    with pytest.raises(ValueError, match="2 and 3 results for 3 ids"):
        metrics.compare(np.ones(2, dtype=bool), np.ones(3, dtype=bool), ["a", "b", "c"])
    with pytest.raises(ValueError, match="0 and 0 results"):
        metrics.compare(np.ones(0, dtype=bool), np.ones(0, dtype=bool), [])


def score_statistic(wins: int, losses: int, n: int, difference: float) -> float:
    """Of the difference, with the most likely share of losses found by search."""

    def unlikely(share: float) -> float:
        shares = (share + difference, share, 1 - 2 * share - difference)
        counts = (wins, losses, n - wins - losses)
        return -sum(k * np.log(p) for k, p in zip(counts, shares, strict=True) if k)

    bounds = (max(0, -difference), (1 - difference) / 2)
    share = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    variance = (2 * share + difference - difference**2) / n
    return float(((wins - losses) / n - difference) / variance**0.5)


# The first two are the examples of Fagerland, Lydersen and Laake (2014).
@pytest.mark.parametrize(
    ("wins", "losses", "n", "low", "high"),
    [
        (1, 7, 21, -0.517, -0.026),
        (6, 16, 161, -0.124, -0.005),
        (40, 20, 160, None, None),
        (3, 0, 50, None, None),
        (30, 45, 90, None, None),
    ],
)
def test_tango_inverts_a_score_test(
    wins: int, losses: int, n: int, low: float | None, high: float | None
) -> None:
    interval = metrics.tango(wins, losses, n)
    if low is not None:
        assert interval == pytest.approx((low, high), abs=5e-4)
    statistics = [score_statistic(wins, losses, n, end) for end in interval]
    assert statistics == pytest.approx([1.959964, -1.959964], abs=1e-4)
    assert metrics.tango(losses, wins, n) == pytest.approx((-interval[1], -interval[0]), abs=1e-12)


def test_tango_excludes_0_where_mcnemars_chi_squared_test_finds_a_difference() -> None:
    for wins in range(0, 41, 4):
        for losses in range(0, 41, 3):
            low, high = metrics.tango(wins, losses, 90)
            different = (wins - losses) ** 2 > 1.959964**2 * (wins + losses)
            assert different == (low > 0 or high < 0), (wins, losses)


@pytest.mark.parametrize(
    ("win", "loss"), [(0.1, 0.1), (0.02, 0.05), (0.3, 0.05), (0.01, 0.01), (0.45, 0.5), (0, 0.2)]
)
def test_tango_covers(win: float, loss: float) -> None:
    """Exactly, over all outcomes of 60 photographs."""
    n, covered = 60, 0.0
    for wins in range(n + 1):
        for losses in range(n + 1 - wins):
            chance = multinomial.pmf(
                [wins, losses, n - wins - losses], n, [win, loss, 1 - win - loss]
            )
            if chance > 1e-9:
                low, high = metrics.tango(wins, losses, n)
                covered += chance * (low <= win - loss <= high)
    assert 0.93 < covered <= 1


def test_tango_at_the_ends() -> None:
    assert metrics.tango(20, 0, 20)[1] == 1
    assert metrics.tango(0, 20, 20)[0] == -1
    low, high = metrics.tango(0, 0, 20)
    assert high == pytest.approx(metrics.wilson(0, 20)[1]) == pytest.approx(-low)
    for counts in ((0, 0, 0), (3, 8, 10), (-1, 0, 5)):
        with pytest.raises(ValueError, match="are not proportions"):
            metrics.tango(*counts)


def test_comparison_has_an_interval_of_photographs() -> None:
    first = np.array([1, 1, 1, 1, 1, 1, 0, 0, 1], dtype=bool)
    second = np.array([0, 0, 0, 0, 0, 0, 1, 0, 1], dtype=bool)
    comparison = metrics.compare(first, second, list("abcdefghi"))
    assert (comparison.low, comparison.high) == metrics.tango(6, 1, 9)
    wide = metrics.compare(first, second, list("abcdefghi"), confidence=0.99)
    assert (wide.low, wide.high) == metrics.tango(6, 1, 9, 0.99)
    # Four crops of each photograph that agree are no more than one.
    ids = [f"{name}#{crop}" for name in "abcdefghi" for crop in range(4)]
    crops = metrics.compare(first.repeat(4), second.repeat(4), ids)
    assert (crops.low, crops.high) == pytest.approx((comparison.low, comparison.high))


# Newcombe (1998), the examples of his table II, method 10.
@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [((56, 70, 48, 80), 0.0524, 0.3339), ((9, 10, 3, 10), 0.1705, 0.8090)],
)
def test_newcombe_against_published_examples(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    assert metrics.newcombe(*counts) == pytest.approx((low, high), abs=5e-5)


def test_holm_by_hand() -> None:
    # In order 0.01 x 4, 0.02 x 3, 0.03 x 2 and 0.04 x 1, none below the one before.
    assert metrics.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert metrics.holm([0.6, 0.7]) == [1, 1]
    assert metrics.holm([0.2]) == [0.2]
    assert metrics.holm([]) == []


def test_holm_keeps_the_familywise_error() -> None:
    """Twenty true hypotheses: one is rejected in about 5 % of families, without it in 64 %."""
    families = np.random.default_rng(0).uniform(size=(2000, 20))
    rejected = np.mean([min(metrics.holm(list(family))) <= 0.05 for family in families])
    assert rejected == pytest.approx(0.05, abs=0.015)


def test_spread_by_hand() -> None:
    correct = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0]], dtype=bool)
    spread = metrics.spread(correct)
    assert (spread.draws, spread.mean, spread.deviation) == (3, 0.5, 0.25)
    assert metrics.spread(correct[:1]).deviation == 0


@pytest.mark.parametrize(
    ("n", "difference", "discordance"),
    [(50, 0.1, 0.3), (200, 0.05, 0.1), (400, 0.02, 0.2), (20, 0.3, 0.3), (9, 0.9, 1)],
)
def test_power_is_what_a_simulation_finds(n: int, difference: float, discordance: float) -> None:
    rng = np.random.default_rng(0)
    shares = ((discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance)
    outcomes = rng.multinomial(n, shares, size=4000)
    pairs, times = np.unique(outcomes[:, :2], axis=0, return_counts=True)
    rejected = [metrics.mcnemar(*pair) <= 0.05 for pair in pairs.tolist()]
    simulated = times[rejected].sum() / times.sum()
    power = metrics.power(n, difference, discordance)
    assert power == pytest.approx(simulated, abs=4 * (0.25 / 4000) ** 0.5)
    assert metrics.power(n, -difference, discordance) == power


def test_without_a_difference_the_power_is_at_most_the_significance() -> None:
    for n in (1, 5, 20, 100):
        assert metrics.power(n, 0, 0.3) <= 0.05
    assert metrics.power(2000, 0, 0.3) == pytest.approx(0.05, abs=0.01)


def test_images_needed_agrees_with_the_normal_approximation() -> None:
    """Connor (1987), equation 3; the exact test needs a little more."""
    for difference, discordance in ((0.05, 0.1), (0.1, 0.3), (0.02, 0.05)):
        z = 1.959964 * discordance**0.5 + 0.841621 * (discordance - difference**2) ** 0.5
        approximate = (z / difference) ** 2
        needed = metrics.images_needed(difference, discordance)
        assert approximate < needed < 1.15 * approximate + 10
        assert metrics.power(needed, difference, discordance) >= 0.8
        assert metrics.power(needed - 1, difference, discordance) < 0.8


def test_power_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"no difference of 0\.2 at a discordance of 0\.1"):
        metrics.power(10, 0.2, 0.1)
