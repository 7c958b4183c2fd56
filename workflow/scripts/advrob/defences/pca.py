"""Principal components: what lies outside their span, adversarial or not, is removed."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from advrob import linalg
from advrob.defences import Defence, Images
from advrob.errors import UserError
from advrob.store import Array, Blocks


class PCA(Defence):
    """Projection onto the principal components of held-out images (Liang et al. 2017, eq. 1).

    The result is the nearest image in the components' span. It is not clipped to [0, 1]: the
    defence stays linear, and its gradient exact.

    Args:
        variance: keep the fewest components that explain this share of the variance, in (0, 1];
            0.99, the paper's, if neither argument is given.
        components: or keep this many.
    """

    mean: Tensor

    def __init__(self, *, variance: float | None = None, components: int | None = None) -> None:
        super().__init__()
        if variance is not None and components is not None:
            raise UserError(
                f"pca: found variance {variance} and components {components}, expected one of "
                "them. Remove the other."
            )
        if components is None:
            variance = 0.99 if variance is None else variance
            if not 0 < variance <= 1:
                raise UserError(
                    f"pca: variance is {variance}, expected a share above 0 and up to 1. Set it to "
                    "0.99, for example."
                )
        elif components < 1:
            raise UserError(f"pca: components is {components}, expected at least 1. Raise it.")
        self.variance = variance
        self.n_components = components

    def fit(
        self, images: Images, *, device: torch.device, generator: torch.Generator, checkpoint: Path
    ) -> Mapping[str, Array]:
        """Solve the eigenproblem of the Gram matrix, n x n, in place of the covariance's, d x d.

        With U the centred images as rows, ``U U^T`` has the covariance's eigenvalues and ``U^T``
        takes its eigenvectors to the principal components (the paper's equation 1). The sums of
        products are exact, the decomposition is float64, and only the components are rounded.

        Returns:
            ``mean`` (d,) float32 in [0, 1]; ``components`` (k, d) float32, orthonormal rows in
            stored order (H, W, 3), by falling variance; ``explained_variance`` and
            ``explained_variance_ratio`` (n,) float64 of all n components; ``training_curve`` (n,),
            the cumulative ratio; ``reconstruction_error``, the mean squared error per pixel and
            channel on these images, pixels in [0, 1].

        Raises:
            UserError: there is no variance, or less rank than components.
        """
        n, d = len(images), int(np.prod(images.shape[1:]))
        if self.n_components is not None:
            _check_rank(self.n_components, min(n - 1, d), n)
        mean = linalg.mean(images, device)
        eigenvalues, eigenvectors = torch.linalg.eigh(linalg.gram(images, device))
        eigenvalues, eigenvectors = eigenvalues.flip(0).clamp(min=0), eigenvectors.flip(1)
        # numpy.linalg.matrix_rank's tolerance; equal images leave zeros and rounding.
        rank = int((eigenvalues > eigenvalues[0] * n * torch.finfo(torch.float64).eps).sum())
        if rank == 0:
            raise UserError(
                f"pca: the {n} images to fit are all the same, expected some variance. Name "
                "different images to fit."
            )
        ratio = (eigenvalues / eigenvalues.sum()).cpu().numpy()
        cumulative = np.cumsum(ratio)
        if self.n_components is not None:
            k = self.n_components
            _check_rank(k, rank, n)
        else:
            assert self.variance is not None
            k = min(int(np.searchsorted(cumulative, self.variance)) + 1, rank)
        # |U^T v|^2 is the eigenvalue, in squared levels of 255 where `combine` has [0, 1].
        scale = 255 / eigenvalues[:k].sqrt()
        coefficients = (eigenvectors[:, :k] * scale).T.float()
        variances = eigenvalues.cpu().numpy() / 255**2
        blocks = linalg.combine(coefficients, images, mean)
        return {
            "mean": mean.cpu().numpy(),
            "components": Blocks((k, d), "float32", (block.cpu().numpy() for block in blocks)),
            "explained_variance": variances / (n - 1),
            "explained_variance_ratio": ratio,
            "training_curve": cumulative,
            "reconstruction_error": np.float64(variances[k:].sum() / (n * d)),
        }

    def load(self, state: h5py.Group) -> None:
        """Take ``mean`` and ``components``."""
        self.register_buffer("mean", linalg.read_matrix(state["mean"]))
        self.components = linalg.Matrix(linalg.read_matrix(state["components"]))

    def forward(self, images: Tensor) -> Tensor:
        """Project images ``(N, 3, H, W)``; the result may leave [0, 1]."""
        components = self.components()
        rows = linalg.rows(images, len(self.mean), "pca")
        codes = F.linear(rows - self.mean, components)
        return linalg.images_like(images, self.mean + codes @ components)


def _check_rank(components: int, rank: int, n: int) -> None:
    if components > rank:
        raise UserError(
            f"pca: components is {components}, but the {n} images to fit span {rank} at most. "
            f"Lower components to {rank} or less, or fit on more, different images."
        )
