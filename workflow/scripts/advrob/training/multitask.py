"""One network for several tasks: a shared trunk and a linear head for each task.

The paper's sections 2 and 7: features that serve several tasks should be less brittle than those
that serve one.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from advrob.errors import UserError


class MultiTaskNetwork(nn.Module):
    """A trunk whose features several heads share.

    As a network it answers its main task only, so that it is attacked, defended and scored like
    any other; `tasks` gives all the answers, to train on.

    Args:
        trunk: images ``(N, 3, H, W)`` to features ``(N, features)``.
        features: the number of these.
        heads: task -> number of classes. The first is the main task, the others are auxiliary: the
            class's coarse category, the quarter turn by which an image was rotated, ...
    """

    def __init__(self, trunk: nn.Module, features: int, heads: Mapping[str, int]) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleDict(
            {task: nn.Linear(features, classes) for task, classes in heads.items()}
        )
        self.main = next(iter(heads))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of the main task for images ``(N, 3, H, W)`` in [0, 1]."""
        return self.heads[self.main](self.trunk(images))

    def tasks(self, images: Tensor) -> dict[str, Tensor]:
        """Logits ``(N, classes)`` of every task, from one pass through the trunk."""
        features = self.trunk(images)
        return {task: head(features) for task, head in self.heads.items()}


def build(architecture: str, heads: Mapping[str, int]) -> MultiTaskNetwork:
    """An untrained multi-task network whose trunk is one of timm's architectures.

    Args:
        architecture: its name in timm.
        heads: task -> number of classes, the main task first.

    Raises:
        UserError: timm has no such architecture.
    """
    import timm

    if not timm.is_model(architecture):
        near = get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.4)
        raise UserError(
            f"architecture: timm has no '{architecture}'. Nearest names: "
            f"{', '.join(near) or 'none'}."
        )
    trunk: Any = timm.create_model(architecture, num_classes=0)
    return MultiTaskNetwork(trunk, trunk.num_features, heads)
