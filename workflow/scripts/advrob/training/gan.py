"""A generative adversarial network whose generator draws adversarial perturbations.

Goodfellow et al. (2014), the paper's equation 2, with the convolutional layers of Radford et al.
(2016): strided convolutions in place of pooling, batch normalisation, no hidden linear layers.
"""

from itertools import pairwise

from torch import Tensor, nn

from advrob.errors import UserError

# The generator starts from, and the discriminator ends at, feature maps of at most this side.
SMALLEST = 7


def doublings(size: int) -> int:
    """How many times a side of ``size`` pixels halves before it is at most `SMALLEST`.

    Raises:
        UserError: it becomes odd before.
    """
    times, side = 0, size
    while side > SMALLEST and side % 2 == 0:
        times, side = times + 1, side // 2
    if side > SMALLEST or not times:
        raise UserError(
            f"size: found {size}, which does not halve down to {SMALLEST} pixels or fewer. Expected"
            f" 1 to {SMALLEST} times a power of two, such as 224 = 7 x 32."
        )
    return times


class Generator(nn.Module):
    """Random vectors to image-agnostic perturbations.

    A linear layer makes a small map of features; each stage doubles its side and halves its
    channels; tanh bounds the result, so that every perturbation is within the radius.

    Args:
        latent: length of the random vectors.
        size: side of the perturbations in pixels: 1 to 7 times a power of two.
        channels: features of the last stage but one; twice as many in each stage before.
        radius: the largest change of a pixel, in units of 1/255.

    Raises:
        UserError: ``size`` cannot be reached by doubling.
    """

    def __init__(
        self, *, latent: int = 100, size: int = 224, channels: int = 16, radius: float = 10
    ) -> None:
        super().__init__()
        stages = doublings(size)
        widths = [channels << stage for stage in reversed(range(stages))]
        side = size >> stages
        self.latent = latent
        self.radius = radius
        self.project = nn.Sequential(
            nn.Linear(latent, widths[0] * side**2, bias=False),
            nn.Unflatten(1, (widths[0], side, side)),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.upsample = nn.Sequential()
        for before, after in pairwise(widths):
            self.upsample.extend(
                (
                    nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(inplace=True),
                )
            )
        self.upsample.extend((nn.ConvTranspose2d(widths[-1], 3, 4, stride=2, padding=1), nn.Tanh()))

    def forward(self, vectors: Tensor) -> Tensor:
        """Perturbations ``(N, 3, size, size)`` of images in [0, 1] from vectors ``(N, latent)``.

        Vectors are standard normal. Values are within ``radius / 255`` of zero.
        """
        return self.upsample(self.project(vectors)) * (self.radius / 255)


class Discriminator(nn.Module):
    """Images to one logit each: above zero where an image looks like an original one.

    Args:
        size: side of the images in pixels: 1 to 7 times a power of two.
        channels: features of the first stage; twice as many in each stage after.

    Raises:
        UserError: ``size`` does not halve down to a small map.
    """

    def __init__(self, *, size: int = 224, channels: int = 16) -> None:
        super().__init__()
        stages = doublings(size)
        self.downsample = nn.Sequential()
        before = 3
        for stage in range(stages):
            after = channels << stage
            # No normalisation of the first features, which would hide the images' contrast.
            normalise = [nn.BatchNorm2d(after)] if stage else []
            self.downsample.extend(
                (
                    nn.Conv2d(before, after, 4, stride=2, padding=1, bias=not stage),
                    *normalise,
                    nn.LeakyReLU(0.2, inplace=True),
                )
            )
            before = after
        self.judge = nn.Sequential(nn.Conv2d(before, 1, size >> stages), nn.Flatten(0))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N,)`` of images ``(N, 3, size, size)`` in [0, 1]."""
        return self.judge(self.downsample(images))
