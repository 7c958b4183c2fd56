import numpy as np
import pytest

from advrob import job
from advrob.resuming import resumed

SHAPE = (23, 4, 4, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)


class CutError(Exception):
    pass


def run(checkpoint, cut_at=None):
    calls = []

    def work(part):
        calls.append(part.start)
        if part.start == cut_at:
            raise CutError
        return IMAGES[part]

    found = resumed(work, SHAPE, batch_size=5, checkpoint=checkpoint)
    return np.array(found), calls


def test_work_goes_on_where_it_was_cut(tmp_path):
    file = tmp_path / "checkpoint"
    for cut_at in (0, 5, 20):
        with pytest.raises(CutError):
            run(file, cut_at)
    found, calls = run(file)
    np.testing.assert_array_equal(found, IMAGES)
    assert calls == [20]


def test_a_batch_cut_while_it_was_written_is_done_again(tmp_path):
    file = tmp_path / "checkpoint"
    with pytest.raises(CutError):
        run(file, 15)
    file.write_bytes(file.read_bytes()[:-7])
    found, calls = run(file)
    np.testing.assert_array_equal(found, IMAGES)
    assert calls == [10, 15, 20]


def test_finished_work_is_not_repeated(tmp_path):
    run(tmp_path / "checkpoint")
    found, calls = run(tmp_path / "checkpoint")
    np.testing.assert_array_equal(found, IMAGES)
    assert calls == []


def test_a_checkpoint_belongs_to_its_parameters_and_inputs(tmp_path):
    data = tmp_path / "data"
    data.write_text("a")
    output = str(tmp_path / "out.h5")

    def name(params):
        with pytest.raises(CutError), job.checkpoint(output, params, str(data)) as path:
            path.touch()
            raise CutError
        return path

    first = name({"a": 1})
    assert name({"a": 1}) == first
    assert name({"a": 2}) != first
    data.write_text("other")
    assert name({"a": 1}) != first
    with job.checkpoint(output, {"a": 1}, str(data)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
