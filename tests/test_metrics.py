import numpy as np
import pytest
from scipy.stats import binomtest

from advrob import metrics


@pytest.mark.parametrize("n", [1, 2, 20, 500, 2000])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_agrees_with_scipy(n: int, confidence: float) -> None:
    for successes in {0, 1, n // 3, n - 1, n}:
        expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
        found = metrics.wilson(successes, n, confidence)
        assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


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
    found = metrics.accuracy(correct, [f"val/n01440764/{i}.JPEG" for i in range(100)])
    assert (found.n, found.photographs, found.correct, found.accuracy) == (100, 100, 70, 0.7)
    assert (found.low, found.high) == metrics.wilson(70, 100)


def test_crops_narrow_no_interval() -> None:
    correct = np.arange(100) < 70
    crops = metrics.accuracy(correct, [f"photo{i // 5}.jpg#{i % 5}" for i in range(100)])
    assert (crops.n, crops.photographs, crops.accuracy) == (100, 20, 0.7)
    assert (crops.low, crops.high) == metrics.wilson(14, 20)


def test_a_hash_in_a_file_name_is_no_crop() -> None:
    assert metrics.photograph("a/take#2.jpg#3") == "a/take#2.jpg"
    assert metrics.photograph("a/take#2.jpg") == "a/take#2.jpg"


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
    assert metrics.select(ids, "ILSVRC2012_val_*").tolist() == [True, False, True, False]
    assert metrics.select(ids, "*.JPEG").all()
    assert metrics.select(ids, None).all()
