"""The mean prediction of a network that draws random numbers, for attacks to follow."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Expectation(nn.Module):
    """A stochastic network's mean prediction over several draws.

    Its gradient is the one that expectation over transformation follows (Athalye et al. 2018,
    "Synthesizing Robust Adversarial Examples"), of the probabilities, as a network that votes would
    average them.

    Args:
        network: images to logits, anew in every pass.
        draws: how many passes an image goes through, all in one batch.
    """

    def __init__(self, network: nn.Module, draws: int) -> None:
        super().__init__()
        self.network = network
        self.draws = draws

    def forward(self, images: Tensor) -> Tensor:
        """Logarithms of mean probabilities ``(N, classes)`` of images ``(N, 3, H, W)``."""
        logits = self.network(images.repeat_interleave(self.draws, dim=0))
        logarithms = F.log_softmax(logits, dim=1).unflatten(0, (-1, self.draws))
        return torch.logsumexp(logarithms, dim=1) - torch.tensor(self.draws).log()
