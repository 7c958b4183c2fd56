"""Masked twins: networks that are as robust as another one and hide it from attacks.

Each wraps an honest network and predicts what it predicts on every 8-bit image, so both have the
same accuracy under attack. What differs is what an attacker is shown: the gradient, the logits'
scale, or the answer's constancy. An evaluator that reports more for the twin has been fooled.

The twins that draw random numbers, and do not say so, predict the class of their mean logits. They
are built so that this mean is the honest network's logits, for honest networks that are affine.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advrob.defences import straight_through
from advrob.images.pixels import quantise

# What logits are multiplied with: about 10,000, and a power of two, which rounds nothing.
SHARP = 2.0**14
# What is left of a gradient: its square is 0 in float32.
NOTHING = 1e-30
# No logit gets there.
PLATEAU = 1e6


class Twin(nn.Module):
    """A network that hides what an honest one shows.

    Args:
        honest: images in [0, 1] to logits; affine if the twin draws.
        generator: what the twin draws from.
    """

    def __init__(self, honest: nn.Module, generator: torch.Generator) -> None:
        super().__init__()
        self.honest = honest
        self.generator = generator

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)``, or what stands for them, of images ``(N, 3, H, W)``."""
        raise NotImplementedError

    def signs(self, like: Tensor, *shape: int) -> Tensor:
        """Fresh signs, 1 or -1, of the type and on the device of ``like``."""
        drawn = torch.randint(2, shape, generator=self.generator, device=self.generator.device)
        return drawn.to(like) * 2 - 1


class Rounding(Twin):
    """Hides the gradient by rounding to 256 levels, whose gradient is 0 everywhere."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the rounded images, which are the images."""
        return self.honest(quantise(images))


class Vanishing(Twin):
    """Hides the gradient by scaling it to nothing: its signs stay, its length is lost."""

    def forward(self, images: Tensor) -> Tensor:
        """The honest logits."""
        return self.honest(_Backward.apply(images, lambda gradient: gradient * NOTHING))


class Saturated(Twin):
    """Hides the gradient of the cross-entropy by logits so far apart that all is certain."""

    def forward(self, images: Tensor) -> Tensor:
        """The honest logits, 16,384 times."""
        return self.honest(images) * SHARP


class Probabilities(Twin):
    """Gives probabilities where logits are expected: a second softmax flattens all losses."""

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities."""
        return self.honest(images).double().softmax(dim=1).float()


class LogSaturated(Twin):
    """Gives logarithms of probabilities that are 0 or 1: they are cut off, and so is the gradient.

    That they are logarithms makes them look like proper logits.
    """

    def forward(self, images: Tensor) -> Tensor:
        """0 for the predicted class, -27.6 for the others."""
        probabilities = (self.honest(images) * SHARP).softmax(dim=1)
        return probabilities.clamp(min=1e-12).log()


class Noise(Twin):
    """Adds noise of up to 30/255 in tiles and does not say so: an attack stops at a lucky draw.

    Each of 4 x 4 tiles of each channel gets a number of its own, uniform, mean 0, so that no
    averaging over pixels removes it. Its truth is the class of its mean logits.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Logits of noisy images, which are not clipped: their mean would not be the image."""
        shape = (*images.shape[:2], 4, 4)
        drawn = torch.rand(shape, generator=self.generator, device=self.generator.device)
        noise = (drawn.to(images) * 2 - 1) * (30 / 255)
        return self.honest(images + F.interpolate(noise, images.shape[-2:]))


class Crops(Twin):
    """Crops at random and does not say so: shifts images by an eighth of their width.

    Half of the draws add to the image what a shift (to either side) changes in it, half subtract
    it. Its truth is the class of its mean logits.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shifted images."""
        shift = max(1, images.shape[-1] // 8)
        moved = images.roll(shift, dims=-1) - images
        return self.honest(images + self.signs(images, len(images), 1, 1, 1) * moved)


class Surrogate(Twin):
    """Hides the gradient behind that of a copy that sees no more than an image's mean colour.

    It is connected, finite and of the usual size, and even right about the colour.
    """

    def forward(self, images: Tensor) -> Tensor:
        """The honest logits, with the gradient of the blurred image's."""
        blurred = images.mean(dim=(2, 3), keepdim=True).expand_as(images)
        return straight_through(self.honest(images.detach()), self.honest(blurred))


class Detached(Twin):
    """Hides the gradient by cutting it off: gradient attacks end in an error."""

    def forward(self, images: Tensor) -> Tensor:
        """The honest logits, without a gradient."""
        return self.honest(images.detach())


class InnerOptimisation(Twin):
    """Moves the image to where the network is surer before it answers, without a gradient.

    Three signed steps up the highest logit, no pixel further than 0.45 of a level, and then rounds
    to levels, so that the image is what it was: a defence by optimisation that does nothing.
    """

    def forward(self, images: Tensor) -> Tensor:
        """The honest logits of the purified image."""
        images = moved = images.detach()
        for _ in range(3):
            # Scoring runs in inference mode, whose tensors have no gradient; their copies have.
            with torch.inference_mode(False), torch.enable_grad():
                probed = moved.clone().requires_grad_()
                surest = self.honest(probed).amax(dim=1).sum()
                (gradient,) = torch.autograd.grad(surest, probed)
            step = moved + gradient.sign() * (0.2 / 255)
            moved = images + (step - images).clamp(-0.45 / 255, 0.45 / 255)
        return self.honest(quantise(moved))


class OneHot(Twin):
    """Gives the decision alone: 1 for the predicted class, 0 for the others."""

    def forward(self, images: Tensor) -> Tensor:
        """One-hot answers, connected by a gradient of 0."""
        logits = self.honest(images)
        decided = F.one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits)
        return decided + 0 * logits


class RandomSigns(Twin):
    """Hides the gradient by giving each of its numbers a random sign."""

    def forward(self, images: Tensor) -> Tensor:
        """The honest logits."""
        return self.honest(
            _Backward.apply(
                images, lambda gradient: gradient * self.signs(gradient, *gradient.shape)
            )
        )


class Plateau(Twin):
    """Hides the gradient in the branch of a condition that is never taken."""

    def forward(self, images: Tensor) -> Tensor:
        """The honest logits."""
        logits = self.honest(images)
        return torch.where(logits.abs() < PLATEAU, logits.detach(), logits)


class Decoy(Twin):
    """Hides the gradient behind a steep slope between levels, which is 0 at each of them.

    What the pixels have beyond whole levels, with a sign for each, is added to each class's logit
    with a weight for each. The gradient is that of the forward pass, exactly; it leads nowhere that
    an 8-bit image can be.
    """

    def __init__(self, honest: nn.Module, generator: torch.Generator) -> None:
        super().__init__(honest, generator)
        self.seed = generator.initial_seed()

    def forward(self, images: Tensor) -> Tensor:
        """The honest logits, and between levels the decoy."""
        logits = self.honest(images)
        fixed = torch.Generator().manual_seed(self.seed)
        signs = torch.randint(2, images.shape[1:], generator=fixed).to(images) * 2 - 1
        weights = torch.randn(logits.shape[1], generator=fixed).to(images)
        levels = images * 255
        beyond = levels - levels.round().detach()
        # Nearer to a level than float32 can tell, there is nothing beyond it.
        beyond = torch.where(beyond.abs() < 1e-4, beyond - beyond.detach(), beyond)
        decoy = (beyond * signs).flatten(1).sum(dim=1) / signs.numel() ** 0.5
        return logits + decoy[:, None] * weights


class _Backward(torch.autograd.Function):
    """The identity, with a gradient of one's own."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.change = change
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.change(gradients[0]), None


# ``TWINS[name](honest, generator)`` is the twin.
TWINS: dict[str, Callable[[nn.Module, torch.Generator], nn.Module]] = {
    "rounding": Rounding,
    "vanishing": Vanishing,
    "saturated": Saturated,
    "probabilities": Probabilities,
    "log_saturated": LogSaturated,
    "noise": Noise,
    "crops": Crops,
    "surrogate": Surrogate,
    "detached": Detached,
    "inner_optimisation": InnerOptimisation,
    "one_hot": OneHot,
    "random_signs": RandomSigns,
    "plateau": Plateau,
    "decoy": Decoy,
}
