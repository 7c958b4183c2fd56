"""The control: fine-tuning on the images as they are."""

from torch import Tensor, nn
from torch.nn import functional as F

from advrob.training import Lesson, Pupil, batch_accuracy


class Standard(Lesson):
    """Minimise the cross-entropy on original images."""

    measures = ("accuracy while learning",)

    def __init__(self, pupil: Pupil) -> None:
        super().__init__()

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, list[float]]:
        """See `Lesson.loss`."""
        logits = network(images)
        return F.cross_entropy(logits, labels), [batch_accuracy(logits, labels)]
