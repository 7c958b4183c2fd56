"""Training curves: read, and drawn."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advrob.figures import plotting, training
from advrob.figures.panels import DPI, Picture
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


def test_epochs_are_whole(trained: str) -> None:
    one = training.History("m", ["accuracy, held out"], [[0.5]])
    for histories in ([one], [training.read_history(trained)]):
        (axes,) = training.training_chart(histories).axes
        ticks = [tick for tick in axes.get_xticks() if 1 <= tick <= len(histories[0].values[0])]
        assert ticks == list(range(1, len(histories[0].values[0]) + 1))


def test_the_generators_chart_has_pictures_and_curves(trained: str, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3)).astype(np.uint8)
    rows = [[Picture(image, "a class", 0.5, True)] * 3, [Picture(255 - image, "another")] * 3]
    figure = training.generator_chart(rows, training.read_history(trained))
    assert len(figure.axes) == 7
    assert len(figure.axes[-1].get_lines()) == 3
    png = tmp_path / "a.png"
    plotting.save(figure, pdf=str(tmp_path / "a.pdf"), png=str(png), dpi=DPI)
    shown = np.asarray(Image.open(png).convert("RGB"))
    # Pixel by pixel, three times each.
    for expected in (image, 255 - image):
        windows = np.lib.stride_tricks.sliding_window_view(shown, image.shape)[..., 0, :, :, :]
        starts = np.argwhere((windows[..., 0, 0, :] == expected[0, 0]).all(-1))
        assert sum((windows[y, x] == expected).all() for y, x in starts) == 3
