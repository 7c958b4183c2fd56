"""Training curves: read, and drawn."""

from pathlib import Path

import numpy as np
import pytest

from advrob.figures import training
from advrob.figures.panels import Picture
from advrob.files import store


@pytest.fixture
def trained(tmp_path: Path) -> str:
    path = tmp_path / "mine.h5"
    arrays = {
        "training_curve": np.array([[1.5, 0.5, 0.6], [1.0, 0.75, 0.8]]),
        "training_measures": np.array(
            ["loss", "accuracy while learning", "accuracy, held out"], dtype=object
        ),
    }
    with store.write(path, "state/1", seed=0, params={"model": "mine"}, source="test") as file:
        store.put(file, arrays)
    return str(path)


def test_curves_are_read_and_drawn(trained: str) -> None:
    history = training.read_history(trained)
    assert history.model == "mine"
    assert history.rows()[:2] == [("mine", 1, "loss", 1.5), ("mine", 2, "loss", 1.0)]
    figure = training.training_chart([history] * 4)
    drawn = [line.get_ydata() for line in figure.axes[0].get_lines()]
    assert sorted(map(list, drawn)) == [[50.0, 75.0], [60.0, 80.0]]
    assert [axes.get_title() for axes in figure.axes[:4]] == ["mine"] * 4


def test_the_generators_chart_has_pictures_and_curves(trained: str) -> None:
    picture = Picture(np.zeros((8, 8, 3), np.uint8), "a class", 0.5, True)
    figure = training.generator_chart([[picture] * 3] * 2, training.read_history(trained))
    assert len(figure.axes) == 7
    assert len(figure.axes[-1].get_lines()) == 3
