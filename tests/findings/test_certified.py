"""Certified accuracy, by hand."""

import numpy as np
import pytest

from advrob.findings import certified

# One wrong, one abstained on, and three right, certified to 3, 5 and 5.
LABELS = np.array([0, 1, 2, 3, 4])
PREDICTED = np.array([1, -1, 2, 3, 4])
REACHED = np.array([9.0, 0.0, 3.0, 5.0, 5.0])
IDS = [f"image-{number}" for number in range(5)]


def test_abstained_is_wrong_and_a_radius_counts_up_to_itself():
    found = certified.certified_accuracy(PREDICTED, REACHED, LABELS, [0, 3, 3.1, 5, 5.1])
    np.testing.assert_allclose(found, [0.6, 0.6, 0.4, 0.4, 0])


def test_the_curve_falls_where_certificates_end():
    radii, shares = certified.steps(PREDICTED, REACHED, LABELS)
    assert radii.tolist() == [0, 3, 5]
    np.testing.assert_allclose(shares, [0.6, 0.6, 0.4])
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 3, 50), rng.integers(-1, 3, 50)
    reached = np.where(predicted < 0, 0, rng.random(50))
    radii, shares = certified.steps(predicted, reached, labels)
    assert (np.diff(shares) <= 0).all()
    for radius in rng.random(20):
        later = shares[radii >= radius]
        expected = later[0] if len(later) else 0
        (found,) = certified.certified_accuracy(predicted, reached, labels, [radius])
        assert found == expected


def test_no_image_right():
    radii, shares = certified.steps(PREDICTED, REACHED, np.full(5, 9))
    assert radii.tolist() == [0]
    assert shares.tolist() == [0]


@pytest.mark.parametrize("attacked", [True, False])
def test_the_table_has_both_accuracies_side_by_side(attacked):
    arrays = {
        "sigmas": np.array([8.0, 16.0]),
        "predicted": np.stack([PREDICTED, np.full(5, -1)]),
        "radius": np.stack([REACHED, np.zeros(5)]),
        "drawn": np.array([[100, 0, 100, 100, 100], [0] * 5]),
        "labels": LABELS,
    }
    if attacked:
        arrays["attack_radii"] = np.array([0.0, 4.0])
        right = np.array([[0, 1, 1, 1, 1], [0, 0, 1, 1, 1]], dtype=bool)
        arrays["attacked"] = np.stack([right, right & False])
    rows = list(certified.rows(arrays, IDS, [0, 4, 6], seconds=20))
    assert [(row.sigma, row.radius) for row in rows] == [
        (sigma, radius) for sigma in (8, 16) for radius in (0, 4, 6)
    ]
    assert [row.certified.accuracy for row in rows] == [0.6, 0.4, 0, 0, 0, 0]
    assert [row.abstained for row in rows[::3]] == [0.2, 1]
    assert [row.drawn for row in rows[::3]] == [80, 0]
    assert {row.seconds for row in rows} == {2}
    if attacked:
        assert [row.attacked and row.attacked.accuracy for row in rows[:3]] == [0.8, 0.6, None]
        assert rows[2].originals.accuracy == 0.8
    else:
        assert {row.attacked for row in rows} | {row.originals for row in rows} == {None}


def test_the_published_points_fall_with_the_radius_and_rise_with_knowledge():
    assert tuple(255 * each for each in (0.25, 0.5, 0.75, 1)) == certified.PUBLISHED_RADII
    none, black, white = (np.array(each) for each in certified.PUBLISHED.values())
    for points in (none, black, white):
        assert len(points) == 4
        assert (np.diff(points) < 0).all()
    assert (none < black).all()
    assert (black <= white).all()
