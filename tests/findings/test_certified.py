"""Certified accuracy, by hand."""

import numpy as np
import pytest

from advrob.findings import certified

# One wrong, one abstained on, and three right, certified to 3, 5 and 5.
LABELS = np.array([0, 1, 2, 3, 4])
PREDICTED = np.array([1, -1, 2, 3, 4])
REACHED = np.array([9.0, 0.0, 3.0, 5.0, 5.0])
IDS = [f"image-{number}" for number in range(5)]
ARRAYS = {
    "sigmas": np.array([8.0, 16.0]),
    "predicted": np.stack([PREDICTED, np.full(5, -1)]),
    "radius": np.stack([REACHED, np.zeros(5)]),
    "labels": LABELS,
}


def test_abstained_is_wrong_and_a_radius_counts_up_to_itself():
    rows = certified.rows(ARRAYS, IDS, [0, 3, 3.1, 5, 5.1])
    shares = [row.certified.accuracy for row in rows]
    np.testing.assert_allclose(shares, [0.6, 0.6, 0.4, 0.4, 0, *[0] * 5])


@pytest.mark.parametrize("attacked", [True, False])
def test_the_table_has_both_accuracies_side_by_side(attacked):
    arrays = dict(ARRAYS)
    if attacked:
        arrays["attack_radii"] = np.array([0.0, 4.0])
        survived = np.array([[0, 1, 1, 1, 1], [0, 0, 1, 1, 1]], dtype=bool)
        arrays["attacked"] = np.stack([survived, survived & False])
    rows = list(certified.rows(arrays, IDS, [0, 4, 6]))
    assert [(row.sigma, row.radius) for row in rows] == [
        (sigma, radius) for sigma in (8, 16) for radius in (0, 4, 6)
    ]
    assert [row.certified.accuracy for row in rows] == [0.6, 0.4, 0, 0, 0, 0]
    if attacked:
        assert [row.attacked and row.attacked.accuracy for row in rows[:3]] == [0.8, 0.6, None]
    else:
        assert {row.attacked for row in rows} == {None}
