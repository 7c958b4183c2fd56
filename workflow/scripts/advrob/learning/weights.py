"""A module's weights as named arrays, as they are stored in files."""

import h5py
import numpy as np
import torch
from torch import nn


def weight_arrays(module: nn.Module, prefix: str = "") -> dict[str, np.ndarray]:
    """Weights and buffers by their names in the module, each after ``prefix``."""
    return {f"{prefix}{name}": value.cpu().numpy() for name, value in module.state_dict().items()}


def load_weights(module: nn.Module, state: h5py.Group, prefix: str = "") -> None:
    """Load what `weight_arrays` gave, from a file."""
    module.load_state_dict(
        {
            name: torch.from_numpy(np.asarray(state[f"{prefix}{name}"][()]))
            for name in module.state_dict()
        }
    )
