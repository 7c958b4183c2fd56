"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with Imagenette, network weights and published perturbations."""
    folder = Path(os.environ.get("ADVROB_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no folder {folder} with images and weights; name one in ADVROB_SHARED")
    return folder
