"""How images lie in memory: channels last, which is faster, or plainly where a module needs it.

The layout is a choice of speed. Other people's modules may rely on the plain one: ``x.view(N, -1)``
of a channels-last tensor is refused by PyTorch.
"""

import torch
from torch import Tensor, nn

# How PyTorch refuses to view a tensor whose memory has another order.
REFUSAL = "view size is not compatible"


def channels_last(module: nn.Module) -> None:
    """Lay out weights and buffers ``(out, in, height, width)`` channels last, and no others.

    `torch.nn.Module.to` tries it with five-dimensional ones, too, and fails.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)


class Layout:
    """Calls a module with images as they lie in memory, or plainly where it refuses them so.

    Args:
        name: of the module, for the line that says so.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.plain = False
        self._tried = False

    def call(
        self, module: nn.Module, images: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """The module's output for images ``(N, 3, H, W)``.

        Args:
            module: the same in every call.
            images: in any layout.
            generator: what the module draws from; a repeated call draws the same numbers.
        """
        if self.plain:
            return module(images.contiguous())
        state = None if self._tried or generator is None else generator.get_state()
        try:
            output = module(images)
        except RuntimeError as error:
            if REFUSAL not in str(error):
                raise
            if generator is not None and state is not None:
                generator.set_state(state)
            for tensor in (*module.parameters(), *module.buffers()):
                tensor.data = tensor.data.contiguous()
            output = module(images.contiguous())
            self.plain = True
            print(
                f"{self.name} needs images whose memory is laid out plainly and gets them so; "
                "channels last would be faster (reshape instead of view in its code allows it)."
            )
        self._tried = True
        return output
