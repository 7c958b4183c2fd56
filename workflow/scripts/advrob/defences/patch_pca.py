"""Principal components of patches: what small squares of photographs never look like is removed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from advrob.defences import Defence
from advrob.errors import UserError
from advrob.files.rows import Images
from advrob.files.store import Array
from advrob.job.progress import progress
from advrob.linear import linalg
from advrob.linear.principal import Extent, decompose

# Pixels that are split into patches at a time.
PIXELS = 2**22


class PatchPCA(Defence):
    """Projection of patches onto the principal components of patches of held-out images.

    The projection of whole images (`PCA`) needs as many photographs as components; of patches
    there are hundreds in each (Bhagoji et al. 2018 use both). Patches do not overlap, and the image
    is mirrored at its right and lower border where a side is no multiple of theirs. All channels
    of a patch are one vector. Like `PCA` the defence is linear and does not clip.

    Args:
        patch: side of a patch in pixels.
        variance: keep the fewest components that explain this share of the variance, in (0, 1];
            0.99 if you set neither this nor components.
        components: keep this many components instead.
    """

    mean: Tensor

    exclusive = (("variance", "components"),)
    # Products of patches in double precision, once.
    effort = ()
    passes = 0.2
    gigabytes = 0.5

    def __init__(
        self,
        *,
        patch: Annotated[int, {"minimum": 1, "at_most": "side"}] = 8,
        variance: Annotated[float | None, {"exclusiveMinimum": 0, "maximum": 1}] = None,
        components: Annotated[int | None, {"minimum": 1}] = None,
    ) -> None:
        super().__init__()
        if patch != int(patch) or patch < 1:
            raise UserError(
                f"patch_pca: patch is {patch}, expected a whole number of pixels above 0. Set it "
                "to 8, for example."
            )
        self.patch = int(patch)
        self.extent = Extent("patch_pca", variance, components)

    def fit(
        self, images: Images, *, device: torch.device, generator: torch.Generator, checkpoint: Path
    ) -> Mapping[str, Array]:
        """Decompose the covariance of all patches, whose sums of products are exact integers.

        Returns:
            ``mean`` (d,) float32 in [0, 1], d = 3 patch^2, in the order channel, row, column;
            ``components`` (k, d) float32, orthonormal rows, by falling variance;
            ``explained_variance`` and ``explained_variance_ratio`` (d,) float64 of all components;
            ``training_curve`` (d,), the cumulative ratio; ``reconstruction_error``, the mean
            squared error per pixel and channel on these patches, pixels in [0, 1].

        Raises:
            UserError: there is no variance, less rank than components, or a patch larger than an
                image.
        """
        d = 3 * self.patch**2
        self.extent.check(d, f"patches of {self.patch} x {self.patch} pixels")
        # Sums of products of levels up to 255 are exact in float64 up to 10^11 patches.
        total = torch.zeros(d, dtype=torch.float64, device=device)
        products = torch.zeros(d, d, dtype=torch.float64, device=device)
        count = 0
        for rows in self._rows(images, device):
            total += rows.sum(dim=0)
            products.addmm_(rows.T, rows)
            count += len(rows)
        mean = total / count
        covariance = products / count - torch.outer(mean, mean)
        eigenvalues, eigenvectors, rank = decompose(
            covariance,
            "patch_pca",
            f"{count} patches",
            scale=float(products.diagonal().max() / count),
        )
        variances = eigenvalues.cpu().numpy() / 255**2
        ratio = variances / variances.sum()
        cumulative = np.cumsum(ratio)
        k = self.extent.count(cumulative, rank, f"{count} patches")
        return {
            "mean": (mean / 255).float().cpu().numpy(),
            "components": eigenvectors[:, :k].T.float().contiguous().cpu().numpy(),
            "explained_variance": variances,
            "explained_variance_ratio": ratio,
            "training_curve": cumulative,
            "reconstruction_error": np.float64(variances[k:].sum() / d),
        }

    def load(self, state: h5py.Group) -> None:
        """Take ``mean`` and ``components``."""
        self.register_buffer("mean", linalg.read_matrix(state["mean"]))
        self.components = linalg.Matrix(linalg.read_matrix(state["components"]))

    def forward(self, images: Tensor) -> Tensor:
        """Project the patches of images ``(N, 3, H, W)``; the result may leave [0, 1]."""
        height, width = images.shape[2:]
        basis = self.components()
        patches = self._patches(images)
        patches = self.mean + F.linear(patches - self.mean, basis) @ basis
        return F.pixel_shuffle(patches.permute(0, 3, 1, 2), self.patch)[..., :height, :width]

    def _patches(self, images: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)`` as ``(N, rows, columns, d)``, mirrored up to whole patches."""
        height, width = images.shape[2:]
        if min(height, width) < self.patch:
            raise UserError(
                f"patch_pca: patch is {self.patch}, but the images have {width} x {height} pixels. "
                f"Lower patch to {min(height, width)} or less."
            )
        extra = (0, -width % self.patch, 0, -height % self.patch)
        padded = F.pad(images, extra, mode="reflect")
        return F.pixel_unshuffle(padded, self.patch).permute(0, 2, 3, 1)

    def _rows(self, images: Images, device: torch.device) -> Iterator[Tensor]:
        """The levels of all patches as float64 rows ``(b, d)``."""
        size = max(1, PIXELS // (images.shape[1] * images.shape[2]))
        starts = range(0, len(images), size)
        for start in progress(starts, "batches of patches", len(starts)):
            levels = torch.from_numpy(images[start : start + size]).to(device)
            yield self._patches(levels.permute(0, 3, 1, 2).double()).flatten(0, 2)
