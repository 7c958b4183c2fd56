"""How images lie in memory: channels last where that is faster, plainly where a module needs it.

The layout is a choice of speed. Other people's modules may rely on the plain one: ``x.view(N, -1)``
of a channels-last tensor is refused by PyTorch.
"""

import torch
from torch import Tensor, nn

# How PyTorch refuses to view a tensor whose memory has another order.
REFUSAL = "view size is not compatible"


def channels_last(module: nn.Module) -> None:
    """Lay out weights and buffers ``(out, in, height, width)`` channels last, and no others.

    `torch.nn.Module.to` asks it of five-dimensional ones, too, which cannot have it.
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
        """What the module gives for images ``(N, 3, H, W)``.

        Args:
            module: the same in every call.
            images: in any layout.
            generator: what the module draws from; a call that is made again draws the same.
        """
        if self.plain:
            return module(images.contiguous())
        state = None if self._tried or generator is None else generator.get_state()
        try:
            answer = module(images)
        except RuntimeError as error:
            if REFUSAL not in str(error):
                raise
            if generator is not None and state is not None:
                generator.set_state(state)
            for tensor in (*module.parameters(), *module.buffers()):
                tensor.data = tensor.data.contiguous()
            answer = module(images.contiguous())
            self.plain = True
            print(
                f"{self.name} needs images whose memory is laid out plainly and gets them so; "
                "channels last would be faster (reshape instead of view in its code allows it)."
            )
        self._tried = True
        return answer
