"""Principal components of images: exactly from their inner products, or by a streamed search."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from advrob.errors import UserError
from advrob.files.rows import Images
from advrob.linear import linalg
from advrob.plan import components as size


@dataclass(frozen=True)
class Principal:
    """Principal components of images.

    Attributes:
        eigenvalues: ``(m,)`` float64, sums of squares along the components, falling, none negative;
            pixels in [0, 1].
        total: the sum of squares of the centred images: of all eigenvalues, found or not.
        rank: number of eigenvalues that are not 0 up to rounding.
        components: gives the first k, up to the rank: orthonormal rows ``(k, d)`` float32, in
            blocks.
    """

    eigenvalues: Tensor
    total: float
    rank: int
    components: Callable[[int], Iterator[Tensor]]


def principal(
    images: Images,
    mean: Tensor,
    *,
    components: int | None,
    generator: torch.Generator,
    defence: str,
) -> Principal:
    """Principal components, exact for up to `size.GRAM_LIMIT` images, searched for among more.

    Args:
        images: 8-bit images ``(n, H, W, 3)``.
        mean: theirs, ``(d,)`` in [0, 1], on the device that computes.
        components: the most that are needed; None for as many as a share of the variance takes.
        generator: starts the search.
        defence: its kind, for the message.

    Raises:
        UserError: there is no variance.
    """
    if len(images) <= size.GRAM_LIMIT:
        return from_gram(images, mean, defence)
    result = from_search(images, mean, size.span(components, len(mean)), generator)
    _check_variance(result.rank, defence, f"{len(images)} images")
    return result


def from_gram(images: Images, mean: Tensor, defence: str) -> Principal:
    """Solve the eigenproblem of the Gram matrix, n x n, in place of the covariance's, d x d.

    With U the centred images as rows, ``U U^T`` has the eigenvalues of ``U^T U``, and ``U^T`` takes
    its eigenvectors to the principal components (Liang et al. 2017, equation 1). The sums of
    products are exact, the decomposition is float64, and only the components are rounded.

    It takes `principal_memory` and a time that grows with n^3: for 10,000 images 3 GiB and a minute
    or two on two cores, not worth a checkpoint.
    """
    products = linalg.gram(images, mean.device)
    # A single call that reports no progress: half a minute for 5,000 images, minutes for 10,000.
    print(f"{defence}: decomposing the {len(images):,} x {len(images):,} Gram matrix", flush=True)
    eigenvalues, eigenvectors, rank = decompose(products, defence, f"{len(images)} images")
    eigenvalues /= 255**2

    def components(k: int) -> Iterator[Tensor]:
        # |U^T v|^2 is the eigenvalue.
        unit = eigenvectors[:, :k] / eigenvalues[:k].sqrt()
        return linalg.combine(unit.T.float(), images, mean)

    return Principal(eigenvalues, eigenvalues.sum().item(), rank, components)


def decompose(
    symmetric: Tensor, defence: str, fitted_to: str, scale: float = 0
) -> tuple[Tensor, Tensor, int]:
    """Eigenvalues, falling, of a matrix with no negative ones, its eigenvectors, and its rank.

    Args:
        symmetric: ``(n, n)`` float64.
        defence: its kind, for the message.
        fitted_to: what the matrix was computed from, for the message.
        scale: of the numbers whose difference the matrix is; their rounding errors add no rank.

    Raises:
        UserError: there is no variance.
    """
    eigenvalues, eigenvectors = torch.linalg.eigh(symmetric)
    eigenvalues = eigenvalues.flip(0).clamp(min=0)
    # numpy.linalg.matrix_rank's tolerance; equal images leave zeros and rounding.
    epsilon = torch.finfo(torch.float64).eps
    tolerance = eigenvalues[0].clamp(min=scale) * len(symmetric) * epsilon
    rank = int((eigenvalues > tolerance).sum())
    _check_variance(rank, defence, fitted_to)
    return eigenvalues, eigenvectors.flip(1), rank


def _check_variance(rank: int, defence: str, fitted_to: str) -> None:
    if rank == 0:
        raise UserError(
            f"{defence}: the {fitted_to} to fit are all the same, expected some variance. "
            "Name different images to fit."
        )


def from_search(images: Images, mean: Tensor, span: int, generator: torch.Generator) -> Principal:
    """Search a random subspace for the components, reading the images a few times in batches.

    Randomised subspace iteration (Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.3): random
    combinations of the images, made orthonormal, go through the covariance `size.ITERATIONS` times,
    and the eigenproblem is then solved within their span. The first components are as good as
    exact; the last are mixed with others of nearly equal variance, and explain a little less.

    It takes ``8 span d`` bytes and ``(8 ITERATIONS + 6) span n d`` operations at most, whatever n.

    Args:
        images: 8-bit images ``(n, H, W, 3)``.
        mean: theirs, ``(d,)`` in [0, 1], on the device that computes.
        span: dimensions of the subspace.
        generator: draws the combinations.
    """
    device = mean.device
    basis, scratch = (torch.zeros(span, len(mean), device=device) for _ in range(2))
    total = 0.0
    for _, batch in linalg.batches(images, device):
        rows = batch.sub_(mean)
        total += rows.square().sum(dtype=torch.float64).item()
        basis.addmm_(torch.randn(span, len(rows), generator=generator).to(device), rows)
    for _ in range(size.ITERATIONS):
        basis, scratch = orthonormal(basis, scratch)
        scratch = scratch[: len(basis)].zero_()
        for _, batch in linalg.batches(images, device):
            rows = batch.sub_(mean)
            scratch.addmm_(basis @ rows.T, rows)
        basis, scratch = scratch, basis
    basis, _ = orthonormal(basis, scratch)
    products = torch.zeros(len(basis), len(basis), dtype=torch.float64, device=device)
    for _, batch in linalg.batches(images, device):
        coordinates = basis @ batch.sub_(mean).T
        products += coordinates @ coordinates.T
    eigenvalues, eigenvectors = torch.linalg.eigh(products)
    eigenvalues, eigenvectors = eigenvalues.flip(0).clamp_(min=0), eigenvectors.flip(1).float()
    # What is smaller is the rounding of float32, of the products or of the centred images.
    eps = torch.finfo(torch.float32).eps
    tolerance = (eigenvalues[:1] * eps).clamp(min=len(images) * len(mean) * eps**2)
    rank = int((eigenvalues > tolerance).sum())

    def components(k: int) -> Iterator[Tensor]:
        return (block @ basis for block in eigenvectors[:, :k].T.split(linalg.TILE))

    return Principal(eigenvalues, total, rank, components)


def orthonormal(rows: Tensor, scratch: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal rows with the same span, in place of a QR decomposition that needs a copy.

    The rows' inner products, summed in float64, give the combinations that are orthonormal; a
    second pass removes rounding errors. Rows that depend on others are dropped.

    Args:
        rows: ``(r, d)`` float32; overwritten.
        scratch: as large; overwritten.

    Returns:
        The orthonormal rows, and the other matrix.
    """
    for _ in range(2):
        squares, vectors = torch.linalg.eigh(linalg.inner_products(rows))
        independent = squares > squares[-1:] * len(rows) * torch.finfo(torch.float64).eps
        combinations = (vectors[:, independent] / squares[independent].sqrt()).T.float()
        torch.mm(combinations, rows, out=scratch[: len(combinations)])
        rows, scratch = scratch[: len(combinations)], rows
    return rows, scratch


@dataclass(frozen=True)
class Extent:
    """How many principal components a defence keeps: a share of the variance, or a number.

    Attributes:
        defence: its kind, for messages.
        variance: keep the fewest that explain this share, in (0, 1]; 0.99 if neither is given.
        components: or keep this many.
    """

    defence: str
    variance: float | None
    components: int | None

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        if self.variance is not None and self.components is not None:
            raise UserError(
                f"{self.defence}: found variance {self.variance} and components {self.components}, "
                "expected only one of them. Remove the other."
            )
        if self.variance is not None and not 0 < self.variance <= 1:
            raise UserError(
                f"{self.defence}: variance is {self.variance}, expected a share above 0 and up to "
                "1. Set it to 0.99, for example."
            )
        if self.components is not None and self.components < 1:
            raise UserError(
                f"{self.defence}: components is {self.components}, expected at least 1. Raise it."
            )

    def check(self, rank: int, fitted_to: str) -> None:
        """Refuse more components than there can be.

        Args:
            rank: the most that there can be.
            fitted_to: what they are the components of, for the message.
        """
        if self.components is not None and self.components > rank:
            raise UserError(
                f"{self.defence}: components is {self.components}, but the {fitted_to} to fit span "
                f"at most {rank}. Lower components to {rank} or less, or fit on more, different "
                "images."
            )

    def count(self, cumulative: np.ndarray, rank: int, fitted_to: str) -> int:
        """The number of components to keep.

        Args:
            cumulative: the share of the variance that the first 1, 2, ... components explain.
            rank: as in `check`.
            fitted_to: as in `check`.

        Raises:
            UserError: as in `check`, or all of the components explain too little.
        """
        self.check(rank, fitted_to)
        if self.components is not None:
            return self.components
        share = 0.99 if self.variance is None else self.variance
        if cumulative[-1] < share - 1e-9:  # 1 but for rounding where all components were found
            raise UserError(
                f"{self.defence}: variance is {share}, but the {len(cumulative)} components that "
                f"are searched for explain {cumulative[-1]:.4f}. Lower it, or fit on fewer images."
            )
        return min(int(np.searchsorted(cumulative, share)) + 1, rank)
