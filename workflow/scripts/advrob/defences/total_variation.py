"""Pixels dropped at random, and the image reconstructed with as little variation as possible."""

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from advrob.defences import Defence, straight_through
from advrob.errors import UserError

# Step lengths of the image and of the dual variable: their product may be 1/8 at most, the inverse
# of the squared norm of the gradient operator. This choice is fast for photographs (see the test of
# how far the default number of iterations gets).
PRIMAL, DUAL = 0.3, 1 / (8 * 0.3)


class TotalVariation(Defence):
    """Total-variation minimisation (Guo et al. 2018, section 3.3, equation 3).

    Of each image x a random part of the numbers is dropped, and it is replaced by the image z that
    minimises

        ``1/2 * sum over kept numbers of (z - x)^2 + weight * sum over pixels of |gradient of z|``

    for each channel, the gradient being that of forward differences (Rudin, Osher and Fatemi
    1992). The problem is solved by the primal-dual method (Chambolle and Pock 2011, Algorithm 1),
    all images together, starting from local means of the kept numbers, so that nothing of the
    dropped ones can pass.

    The backward pass takes the defence for the identity: gradients through all iterations would
    need gigabytes for a batch of photographs, and this is how the defence was broken (Athalye,
    Carlini and Wagner 2018, backward pass differentiable approximation).

    Args:
        weight: weight of the total variation; 0.03 in the paper.
        drop: probability that a value is dropped; 0.5 in the paper. With 0 the defence is not
            stochastic.
        iterations: iterations of the solver.

    Raises:
        UserError: a parameter is out of range.
    """

    stochastic = True
    stochastic_if = "drop"

    def __init__(
        self,
        *,
        weight: Annotated[float, {"exclusiveMinimum": 0}] = 0.03,
        drop: Annotated[float, {"minimum": 0, "exclusiveMaximum": 1}] = 0.5,
        iterations: Annotated[int, {"minimum": 1}] = 60,
    ) -> None:
        super().__init__()
        if weight <= 0 or iterations < 1 or not 0 <= drop < 1:
            raise UserError(
                f"total_variation: weight is {weight}, drop {drop} and iterations {iterations}; "
                "expected a weight above 0, a probability to drop from 0 to below 1, and at least "
                "1 iteration. Remove a key to use its default."
            )
        self.weight = weight
        self.drop = drop
        self.iterations = iterations
        self.stochastic = drop > 0

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct images ``(N, 3, H, W)`` from a fresh choice of their numbers."""
        mask = torch.ones_like(images)
        if self.stochastic:
            mask = (self.draw(images.shape, images) >= self.drop).to(images)
        with torch.no_grad():
            denoised = self._minimise(images, mask)
        return straight_through(denoised, images)

    def _minimise(self, images: Tensor, mask: Tensor) -> Tensor:
        masked = images * mask
        blurred, count = (F.avg_pool2d(part, 5, stride=1, padding=2) for part in (masked, mask))
        image = torch.where(mask > 0, masked, blurred / count.clamp(min=1e-3))
        extrapolated, dual = image, images.new_zeros(2, *images.shape)
        for _ in range(self.iterations):
            dual = dual + DUAL * gradient(extrapolated)
            dual /= (torch.linalg.vector_norm(dual, dim=0) / self.weight).clamp(min=1)
            updated = (image + PRIMAL * divergence(dual) + PRIMAL * masked) / (1 + PRIMAL * mask)
            extrapolated, image = 2 * updated - image, updated
        return image


def gradient(images: Tensor) -> Tensor:
    """Differences to the next pixel below and to the right, 0 at the end: ``(2, ...)``."""
    vertical = F.pad(images.diff(dim=-2), (0, 0, 0, 1))
    horizontal = F.pad(images.diff(dim=-1), (0, 1))
    return torch.stack((vertical, horizontal))


def divergence(fields: Tensor) -> Tensor:
    """The negative transpose of `gradient`."""
    vertical, horizontal = fields[0][..., :-1, :], fields[1][..., :-1]
    return (
        F.pad(vertical, (0, 0, 0, 1))
        - F.pad(vertical, (0, 0, 1, 0))
        + F.pad(horizontal, (0, 1))
        - F.pad(horizontal, (1, 0))
    )
