"""Several defences, one after the other."""

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from advrob.defences import Defence


class Chain(Defence):
    """Several defences, one after the other; stochastic if one of them is.

    In the configuration the members are the names of other entries, so a member that learns is
    fitted only once, however many chains it is in.

    Args:
        defences: the members, in the order in which images pass through them.
    """

    def __init__(self, *, defences: Annotated[Sequence[Defence], {"minItems": 1}]) -> None:
        super().__init__()
        self.members = nn.ModuleList(defences)
        self.stochastic = any(member.stochastic for member in defences)

    def expect(self, sigma: float) -> None:
        """Have every member adapt; see `Defence`."""
        for member in self.members:
            assert isinstance(member, Defence)
            member.expect(sigma)

    def forward(self, images: Tensor) -> Tensor:
        """Defend images ``(N, 3, H, W)``; all members draw from the chain's generator."""
        for member in self.members:
            assert isinstance(member, Defence)
            member.generator = self.generator
            images = member(images)
        return images
