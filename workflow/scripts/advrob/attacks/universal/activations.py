"""Universal perturbations that need no photographs: they saturate a network's filters."""

from typing import Annotated

import torch
from torch import Tensor, nn

from advrob.attacks.universal.stochastic_gradient import StochasticGradient
from advrob.errors import UserError

# Below this a filter's energy counts as this much: its logarithm stays finite.
SMALLEST = 1e-12


class Activations(StochasticGradient):
    """Excite a network's convolutions as strongly as possible, whatever it predicts.

    Mopuri, Ganeshan and Babu, "Generalizable data-free objective for crafting universal adversarial
    perturbations" (2019), Section 3: a perturbation that drives the outputs of all layers up
    contaminates what the later ones see. The loss is the mean over the convolutions of the
    logarithm of the mean square of their positive outputs. No prediction is in it, so it needs no
    photographs: with ``source: noise`` it is the stronger method. The ascent is that of
    `StochasticGradient`.

    Args:
        step: initial learning rate of Adam: about how far a value moves at first, in units of
            1/255.
    """

    def __init__(self, *, step: Annotated[float, {"exclusiveMinimum": 0}] = 2.0) -> None:
        self.step = step

    def loss(self, network: nn.Module, images: Tensor, predicted: Tensor) -> Tensor:
        """See `StochasticGradient.loss`.

        Raises:
            UserError: the network has no convolution.
        """
        energies: list[Tensor] = []

        def measure(module: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
            energies.append(outputs.relu().square().mean().clamp(min=SMALLEST).log())

        convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
        hooks = [module.register_forward_hook(measure) for module in convolutions]
        try:
            network(images)
        finally:
            for hook in hooks:
                hook.remove()
        if not energies:
            raise UserError(
                "perturbations.universal.method: found activations, but the network has no "
                "convolution (torch.nn.Conv2d) that could be excited. Expected another method."
            )
        return torch.stack(energies).mean()
