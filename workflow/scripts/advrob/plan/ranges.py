"""Values that each are possible, but not beside others: a patch that is larger than the images."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from .certificates import FAILURE
from .errors import ConfigurationError
from .schema import IMAGE_LIMITS

if TYPE_CHECKING:
    from .plan import Plan
    from .schema import PlugIn

LABEL = r"Expected one with one group that matches a class, such as '_(\d+)\.jpg$'."


def check(plan: "Plan") -> None:
    """Refuse such values, which a job would refuse after those before it.

    Raises:
        ConfigurationError: with the key, what was found, and what is expected.
    """
    for path, plug_in in plan.plug_ins.items():
        _image_limits(".".join(path), plug_in, plan["images.size"])
    for key, radius, side in _lengths(plan):
        _length(key, radius, side)
    for part in ("test", "fit"):
        for number, entry in enumerate(plan["images"][part].get("packages", ())):
            _package(f"images.{part}.packages[{number}]", entry)
    _smoothing(plan)


def _image_limits(path: str, plug_in: "PlugIn", side: int) -> None:
    """Refuse values above what a key's word ``at_most`` names, in images of a given side."""
    limits = {"side": side, "numbers": 3 * side**2}
    keys = plug_in.kind().keys
    for key, value in plug_in.entry.items():
        name = keys.get(key, {}).get("at_most", "")
        if name in limits and value is not None and value > limits[name]:
            raise ConfigurationError(
                f"{path}.{key}: found {value}, but images.size is {side}. Expected at most "
                f"{limits[name]}, {IMAGE_LIMITS[name]}."
            )


def _lengths(plan: "Plan") -> Iterator[tuple[str, float, int]]:
    """The l_2 radii of 8-bit images, with the key of each and the images' side."""
    universal = plan["perturbations.universal"]
    if universal["norm"] == "l2":
        yield "perturbations.universal.radius", universal["radius"], plan["images.size"]
    for name in plan["perturbations.untargeted"]:
        attack = plan.attack(name)
        if attack.norm == "l2" and not attack.real_valued:
            yield f"perturbations.untargeted.{name}.radius", attack.radius, plan["images.size"]
    calibration = plan["experiments.calibration"]
    for number, radius in enumerate(calibration["radii"]["l2"]):
        yield f"experiments.calibration.radii.l2[{number}]", radius, calibration["size"]


def _length(key: str, radius: float, side: int) -> None:
    """Refuse an l_2 radius that is, in all likelihood, meant in units of 1."""
    # It moves as many values by one level as its square says: hardly one in each row of an image.
    if radius**2 < side:
        raise ConfigurationError(
            f"{key}: found {radius:g}, an l_2 length that moves {int(radius**2)} of an image's "
            f"{3 * side**2} values by one level. Expected a number in units of 1/255, probably "
            f"{round(255 * radius, 2):g}."
        )


def _package(key: str, entry: Mapping[str, Any]) -> None:
    """Refuse a regular expression or a pattern that is none."""
    if (label := entry.get("label")) is not None:
        try:
            groups = re.compile(label).groups
        except (re.error, RecursionError, OverflowError) as error:
            raise ConfigurationError(
                f"{key}.label: '{label}' is not a regular expression ({error}). {LABEL}"
            ) from error
        if not groups:
            raise ConfigurationError(f"{key}.label: '{label}' has no group. {LABEL}")
    for glob in entry["files"]:
        try:
            # Of a folder that is not there nothing is read.
            next(Path("\0").glob(glob), None)
        except (ValueError, NotImplementedError, IndexError) as error:
            raise ConfigurationError(
                f"{key}.files: '{glob}' is not a pattern of files ({error}). Expected one relative "
                "to the package's folder, such as data/*.jpg or **/*.png."
            ) from error


def _smoothing(plan: "Plan") -> None:
    """Refuse noise that certifies nothing, even where every draw is right."""
    smoothing = plan["experiments.smoothing"]
    if not smoothing:
        return
    radii, draws = smoothing["radii"], smoothing["draws"]
    if smoothing.get("attack") and radii != sorted(radii):
        raise ConfigurationError(
            f"experiments.smoothing.radii: found {radii}, expected numbers in ascending order."
        )
    smallest = min((radius for radius in radii if radius), default=0)
    for sigma in smoothing["sigmas"]:
        # The bound of Clopper and Pearson, of n right of n draws.
        reached = sigma * NormalDist().inv_cdf(FAILURE ** (1 / draws))
        if reached < smallest or reached <= 0:
            raise ConfigurationError(
                f"experiments.smoothing: {draws} draws of noise of sigma {sigma:g} certify a "
                f"radius of at most {max(reached, 0):.3g}; expected one that reaches the smallest "
                f"of radii above 0, {smallest:g}. Raise draws or sigmas, or name a smaller radius."
            )
