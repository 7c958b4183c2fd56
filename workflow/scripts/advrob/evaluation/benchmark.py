"""The configured attacks against networks of known truth: the evaluator evaluated."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from advrob import attacks
from advrob.attacks import Attack
from advrob.evaluation.calibration import LinearNetwork, Record, calibrate, templates
from advrob.evaluation.checkup import checkup
from advrob.evaluation.twins import TWINS
from advrob.images.pixels import resize, to_tensor, to_uint8
from advrob.job.compute import Job

HONEST = "honest"


@dataclass(frozen=True)
class KnownNetwork:
    """A network whose robustness is known.

    Attributes:
        name: `HONEST`, or that of a masked twin.
        network: what is attacked.
        honest: the linear network that gives the truth.
        flagged: what a check-up has against it, in words; empty if nothing.
    """

    name: str
    network: nn.Module
    honest: LinearNetwork
    flagged: str


@dataclass(frozen=True)
class Measurement(Record):
    """A record with the network that it is of.

    Attributes:
        network: its name.
        flagged: what a check-up has against it, in words.
    """

    network: str
    flagged: str


def reduced(pixels: np.ndarray, size: int) -> np.ndarray:
    """8-bit images ``(N, H, W, 3)`` as ``(N, size, size, 3)``; smaller ones stay as they are."""
    if max(pixels.shape[1:3]) <= size:
        return pixels
    return to_uint8(resize(to_tensor(pixels), size).clamp(0, 1))


def calibrated_attacks(
    entries: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Callable[[float], Attack]]]:
    """By norm and name, a function that makes the configured attack of another radius.

    Args:
        entries: name -> kind, norm and the attack's entry in the configuration.
    """
    makers: dict[str, dict[str, Callable[[float], Attack]]] = {}
    for name, entry in entries.items():
        makers.setdefault(entry["norm"], {})[name] = _maker(entry["kind"], entry["options"])
    return makers


def _maker(kind: str, options: Mapping[str, Any]) -> Callable[[float], Attack]:
    def make(radius: float) -> Attack:
        scaled = dict(options) | {"radius": radius}
        if "step" in options:
            # As many steps to the edge of the ball as the configured attack has.
            scaled["step"] = options["step"] * radius / options["radius"]
        return attacks.build(kind, scaled)

    return make


def known_networks(
    pixels: np.ndarray, labels: np.ndarray, twins: bool, job: Job
) -> list[KnownNetwork]:
    """The honest network of class templates, and its masked twins.

    Args:
        pixels: 8-bit images ``(N, H, W, 3)`` whose class means are the templates.
        labels: int64 ``(N,)``.
        twins: whether to add the masked twins.
        job: seed and device.
    """
    honest = templates(pixels, labels).to(job.device).eval()
    images = to_tensor(pixels, job.device)
    targets = torch.from_numpy(labels).to(job.device)
    networks = []
    for name in (HONEST, *(TWINS if twins else ())):
        generator = job.generator("calibration", name)
        network = honest if name == HONEST else TWINS[name](honest, generator).eval()
        findings = checkup(network, images, targets)
        flags = [each.name for each in findings if each.level in ("warning", "failed")]
        networks.append(KnownNetwork(name, network, honest, ", ".join(flags)))
    return networks


def measure(
    networks: Sequence[KnownNetwork],
    pixels: np.ndarray,
    labels: np.ndarray,
    makers: Mapping[str, Mapping[str, Callable[[float], Attack]]],
    radii: Mapping[str, Sequence[float]],
    job: Job,
) -> list[Measurement]:
    """Attack every network at every radius with every attack of its norm.

    Args:
        networks: of `known_networks`.
        pixels: 8-bit images ``(N, H, W, 3)``.
        labels: int64 ``(N,)``.
        makers: of `calibrated_attacks`.
        radii: norm -> radii, in units of 1/255.
        job: seed, device and batch size.
    """
    classes = torch.from_numpy(np.unique(labels))
    measurements = []
    for subject in networks:
        for norm, makers_of_norm in makers.items():
            records = calibrate(
                subject.network,
                pixels,
                labels,
                makers_of_norm,
                # One radius is enough to see that a twin hides its gradient.
                radii.get(norm, ()) if subject.name == HONEST else radii.get(norm, ())[:1],
                norm=norm,
                generator=job.generator("calibration", subject.name, norm),
                honest=subject.honest,
                classes=classes,
                batch_size=job.batch_size,
            )
            measurements += [
                Measurement(**asdict(record), network=subject.name, flagged=subject.flagged)
                for record in records
            ]
    return measurements
