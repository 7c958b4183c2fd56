"""How large a search for principal components becomes: known to those who plan and who compute."""

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


def principal_memory(images: float, numbers: int, components: int | None) -> int:
    """Bytes that a search for principal components needs, besides what it reads of the images.

    Args:
        images: how many there are.
        numbers: in an image, 3 H W.
        components: how many are wanted; None for a share of the variance.
    """
    if images <= GRAM_LIMIT:
        return int(32 * images**2)  # the matrix, the eigenvectors, a workspace
    return 8 * span(components, numbers) * numbers


def span(components: int | None, numbers: int) -> int:
    """How many components a search among very many images goes through."""
    return min(SPAN if components is None else int(components * (1 + SURPLUS)), numbers)
