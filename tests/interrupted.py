"""Training of a defence that is interrupted and resumed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest


class CutError(Exception):
    """In place of whatever ends a job."""


def assert_resumes_to_the_same_bytes(
    fit: Callable[[Path], Mapping[str, Any]], learner: type, folder: Path
) -> None:
    """Interrupt ``fit`` in the second of three epochs of three steps, and run it again.

    Args:
        fit: fits a defence with a checkpoint of its own.
        learner: the class whose method ``step`` it calls.
        folder: for checkpoints.
    """
    whole = fit(folder / "whole")
    step, calls = learner.step, []

    def cut(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            raise CutError
        return step(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "step", cut)
        with pytest.raises(CutError):
            fit(folder / "cut")
    resumed = fit(folder / "cut")
    for name, array in whole.items():
        assert np.asarray(array).tobytes() == np.asarray(resumed[name]).tobytes(), name
