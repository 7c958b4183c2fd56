"""Principal components of images: exactly from their inner products, or by a streamed search."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from advrob import linalg
from advrob.defences import Images
from advrob.errors import UserError

# More images than this are searched: their Gram matrix and its decomposition would take more than
# 13 GB.
GRAM_LIMIT = 20_000
# The search follows so many directions more than there are components to be found: what is last
# among them converges slowly.
SURPLUS = 0.1
# Directions to search for a share of the variance, which does not say how many components it needs.
# Two matrices of so many rows take as much memory as the Gram matrix at its limit.
SPAN = 10_000
# How often the search applies the images' covariance.
ITERATIONS = 2


@dataclass(frozen=True)
class Principal:
    """Principal components of images.

    Attributes:
        eigenvalues: ``(m,)`` float64, sums of squares along the components, falling, none negative;
            pixels in [0, 1].
        total: the sum of squares of the centred images: of all eigenvalues, found or not.
        rank: number of eigenvalues that are not 0 up to rounding.
        components: gives the first so many, up to the rank: orthonormal rows ``(k, d)`` float32,
            in blocks.
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
    """Principal components, exact for up to `GRAM_LIMIT` images, by a streamed search for more.

    Args:
        images: 8-bit images ``(n, H, W, 3)``.
        mean: theirs, ``(d,)`` in [0, 1], on the device that computes.
        components: how many are wanted at most; None for as many as a share of the variance takes.
        generator: starts the search.
        defence: its kind, for the message.

    Raises:
        UserError: there is no variance.
    """
    if len(images) <= GRAM_LIMIT:
        found = from_gram(images, mean)
    else:
        wanted = SPAN if components is None else int(components * (1 + SURPLUS))
        found = from_search(images, mean, min(wanted, len(mean)), generator)
    if found.rank == 0:
        raise UserError(
            f"{defence}: the {len(images)} images to fit are all the same, expected some variance. "
            "Name different images to fit."
        )
    return found


def from_gram(images: Images, mean: Tensor) -> Principal:
    """Solve the eigenproblem of the Gram matrix, n x n, in place of the covariance's, d x d.

    With U the centred images as rows, ``U U^T`` has the eigenvalues of ``U^T U``, and ``U^T`` takes
    its eigenvectors to the principal components (Liang et al. 2017, equation 1). The sums of
    products are exact, the decomposition is float64, and only the components are rounded.

    It takes about 32 n^2 bytes and a time that grows with n^3: for 10,000 images 3 GiB and a minute
    or two on two cores.
    """
    eigenvalues, eigenvectors = torch.linalg.eigh(linalg.gram(images, mean.device))
    eigenvalues = eigenvalues.flip(0).clamp_(min=0).div_(255**2)
    eigenvectors = eigenvectors.flip(1)
    # numpy.linalg.matrix_rank's tolerance; equal images leave zeros and rounding.
    tolerance = eigenvalues[0] * len(images) * torch.finfo(torch.float64).eps

    def components(k: int) -> Iterator[Tensor]:
        # |U^T v|^2 is the eigenvalue.
        unit = eigenvectors[:, :k] / eigenvalues[:k].sqrt()
        return linalg.combine(unit.T.float(), images, mean)

    rank = int((eigenvalues > tolerance).sum())
    return Principal(eigenvalues, eigenvalues.sum().item(), rank, components)


def from_search(images: Images, mean: Tensor, span: int, generator: torch.Generator) -> Principal:
    """Search a random subspace for the components, reading the images a few times in batches.

    Randomised subspace iteration (Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.3): random
    combinations of the images, made orthonormal, go through the covariance `ITERATIONS` times, and
    the eigenproblem is then solved within their span. The first components are as good as exact;
    the last are mixed with others of nearly equal variance, and explain a little less.

    It takes ``8 span d`` bytes and ``(8 ITERATIONS + 6) span n d`` operations at most, whatever n.

    Args:
        images: 8-bit images ``(n, H, W, 3)``.
        mean: theirs, ``(d,)`` in [0, 1], on the device that computes.
        span: dimensions of the subspace.
        generator: draws the combinations.
    """
    device = mean.device
    basis, spare = (torch.zeros(span, len(mean), device=device) for _ in range(2))
    total = 0.0
    for _, batch in linalg.batches(images, device):
        rows = batch.sub_(mean)
        total += rows.square().sum(dtype=torch.float64).item()
        basis.addmm_(torch.randn(span, len(rows), generator=generator).to(device), rows)
    for _ in range(ITERATIONS):
        basis, spare = orthonormal(basis, spare)
        spare = spare[: len(basis)].zero_()
        for _, batch in linalg.batches(images, device):
            rows = batch.sub_(mean)
            spare.addmm_(basis @ rows.T, rows)
        basis, spare = spare, basis
    basis, _ = orthonormal(basis, spare)
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


def orthonormal(rows: Tensor, spare: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal rows with the same span, in place of a QR decomposition that needs a copy.

    The rows' inner products, summed in float64, tell the combinations that are orthonormal; once
    more removes what rounding left. Rows that depend on others are dropped.

    Args:
        rows: ``(r, d)`` float32; overwritten.
        spare: as large; overwritten.

    Returns:
        The orthonormal rows, and the other matrix.
    """
    for _ in range(2):
        products = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
        for columns in rows.split(linalg.TILE, dim=1):
            wide = columns.double()
            products.addmm_(wide, wide.T)
        squares, vectors = torch.linalg.eigh(products)
        kept = squares > squares[-1:] * len(rows) * torch.finfo(torch.float64).eps
        combinations = (vectors[:, kept] / squares[kept].sqrt()).T.float()
        torch.mm(combinations, rows, out=spare[: len(combinations)])
        rows, spare = spare[: len(combinations)], rows
    return rows, spare
