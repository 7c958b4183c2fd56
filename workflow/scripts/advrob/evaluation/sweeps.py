"""One model behind uniform noise of several magnitudes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import h5py
import numpy as np
import torch

from advrob import defences
from advrob.files import store
from advrob.job.compute import Job
from advrob.models import Model
from advrob.networks import Network


@dataclass(frozen=True)
class Sweep:
    """A model behind noise of each magnitude.

    Attributes:
        networks: one for each magnitude.
        magnitudes: half-widths of the noise, in units of 1/255.
        job: seed and device.
    """

    networks: Sequence[Network]
    magnitudes: Sequence[float]
    job: Job

    def reseed(self, *identity: str) -> Callable[[int], None]:
        """A function that gives each network the generator of a batch; see `models.prediction`."""

        def reseed(start: int) -> None:
            for network, magnitude in zip(self.networks, self.magnitudes, strict=True):
                network.defence.generator = self.job.generator(*identity, magnitude, start)

        return reseed

    def arrays(
        self, source: h5py.File, part: slice, predicted: np.ndarray, confidence: np.ndarray
    ) -> dict[str, np.ndarray]:
        """The arrays of a sweep file.

        Args:
            source: the open file of the images.
            part: the N of them that were predicted.
            predicted: classes, int64 ``(magnitudes, N)``.
            confidence: their probabilities, likewise.
        """
        return {
            "magnitudes": np.asarray(self.magnitudes, np.float64),
            "predicted": predicted,
            "correct": predicted == source["labels"][part],
            "confidence": confidence,
            "ids": np.array(store.strings(source["ids"])[part], dtype=object),
        }


def noisy_networks(model: Model, magnitudes: Sequence[float], job: Job) -> Sweep:
    """Put a model behind uniform noise within each magnitude, in units of 1/255."""
    networks = []
    for magnitude in magnitudes:
        bounds = {"minimum": -magnitude, "maximum": magnitude}
        generator = torch.Generator(job.device)
        noise = defences.build("noise", bounds, generator=generator, device=job.device)
        networks.append(Network(noise, model, mixed=False))
    return Sweep(networks, magnitudes, job)
