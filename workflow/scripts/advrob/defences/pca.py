"""Principal components: what lies outside their span, adversarial or not, is removed."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import h5py
import numpy as np
import torch
from torch import Tensor

from advrob.defences import Defence
from advrob.errors import UserError
from advrob.files.rows import ImageRows, Images
from advrob.files.store import Array, StreamedArray
from advrob.linear import linalg
from advrob.linear.principal import Extent, principal
from advrob.plan.components import principal_memory


class PCA(Defence):
    """Projection onto the principal components of held-out images (Liang et al. 2017, eq. 1).

    The result is the nearest image in the components' span. It is not clipped to [0, 1]: the
    defence stays linear, and its gradient exact.

    Args:
        variance: keep the fewest components that explain this share of the variance, in (0, 1];
            0.99, as in the paper, if you set neither this nor components.
        components: keep this many components instead.
        images: how many of the images to fit are used, drawn at random; null for all. A smaller
            draw is part of a larger one.
    """

    mean: Tensor

    exclusive = (("variance", "components"),)
    principal = "components"
    passes = 0

    def __init__(
        self,
        *,
        variance: Annotated[float | None, {"exclusiveMinimum": 0, "maximum": 1}] = None,
        components: Annotated[int | None, {"minimum": 1}] = None,
        images: Annotated[int | None, {"minimum": 2}] = None,
    ) -> None:
        super().__init__()
        self.extent = Extent("pca", variance, components)
        if images is not None and (images != int(images) or images < 2):
            raise UserError(
                f"pca: images is {images}, expected a whole number of at least 2. Change it, or "
                "remove it to fit to all images."
            )
        self.images = images

    def fit(
        self, images: Images, *, device: torch.device, generator: torch.Generator, checkpoint: Path
    ) -> Mapping[str, Array]:
        """Find the components; see `principal.principal`.

        Returns:
            ``mean`` (d,) float32 in [0, 1]; ``components`` (k, d) float32, orthonormal rows in
            stored order (H, W, 3), by falling variance; ``explained_variance`` and
            ``explained_variance_ratio`` (m,) float64 of all components that were found, kept or
            not: n, or fewer of very many images; ``training_curve`` (m,), the cumulative ratio;
            ``reconstruction_error``, the mean squared error per pixel and channel on these images,
            pixels in [0, 1]; ``images``, how many they are.

        Raises:
            UserError: there are fewer images than are to be drawn, no variance, less rank than
                components, or too little variance in as many components as are searched for.
        """
        images = self._drawn(images, generator)
        n, d = len(images), int(np.prod(images.shape[1:]))
        self.extent.check(min(n - 1, d), f"{n} images")
        mean = linalg.mean(images, device)
        result = principal(
            images, mean, components=self.extent.components, generator=generator, defence="pca"
        )
        variances = result.eigenvalues.cpu().numpy()
        ratio = variances / result.total
        cumulative = np.cumsum(ratio)
        k = self.extent.count(cumulative, result.rank, f"{n} images")
        blocks = result.components(k)
        return {
            "mean": mean.cpu().numpy(),
            "components": StreamedArray(
                (k, d), "float32", (block.cpu().numpy() for block in blocks)
            ),
            "explained_variance": variances / (n - 1),
            "explained_variance_ratio": ratio,
            "training_curve": cumulative,
            "reconstruction_error": np.asarray((result.total - variances[:k].sum()) / (n * d)),
            "images": np.asarray(n),
        }

    def _drawn(self, images: Images, generator: torch.Generator) -> Images:
        if self.images is None:
            return images
        if self.images > len(images):
            raise UserError(
                f"pca: images is {self.images}, but there are {len(images)} to fit. Lower it (or "
                "experiments.fit_images), or name more images to fit."
            )
        drawn = torch.randperm(len(images), generator=generator)[: self.images]
        return ImageRows(images, np.sort(drawn.numpy()))

    def memory(self, shape: tuple[int, ...]) -> int:
        """The eigenproblem's: the components are found and written in blocks."""
        n = shape[0] if self.images is None else min(shape[0], self.images)
        return principal_memory(n, math.prod(shape[1:]), self.extent.components)

    def load(self, state: h5py.Group) -> None:
        """Take ``mean`` and ``components``."""
        self.register_buffer("mean", linalg.read_matrix(state["mean"]))
        self.components = linalg.Matrix(linalg.read_matrix(state["components"]))

    def forward(self, images: Tensor) -> Tensor:
        """Project images ``(N, 3, H, W)``; the result may leave [0, 1]."""
        return linalg.project(images, self.mean, self.components(), "pca")
