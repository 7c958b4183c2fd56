"""Networks that learn with Adam to rebuild images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from advrob.files.rows import Images
from advrob.files.store import Array
from advrob.images.pixels import to_tensor
from advrob.job import compute
from advrob.learning import fitting
from advrob.learning.weights import weight_arrays


class NetworkLearner:
    """A network and its optimiser while it learns; see `fitting.Learner`.

    A subclass computes the loss of a batch in `step`, and lowers it with `descend`.

    Args:
        network: maps images to images, on the device that computes; changed in place.
        plan: how it learns.
    """

    # Longer gradients, in l_2, are shortened to this.
    longest: float

    def __init__(self, network: nn.Module, plan: fitting.Training) -> None:
        self.network = network.to(memory_format=torch.channels_last)
        self.plan = plan
        self.optimiser = torch.optim.Adam(network.parameters())

    def fit(
        self,
        images: Images,
        held_out: Images,
        *,
        device: torch.device,
        generator: torch.Generator,
        checkpoint: Path,
    ) -> Mapping[str, Array]:
        """Train the network, from a checkpoint if there is one.

        Args:
            images: 8-bit images ``(n, H, W, 3)`` to learn from.
            held_out: more of them, to measure the error on.
            device: where the network is.
            generator: the source of every random number.
            checkpoint: a file to resume from if it exists, and to keep up to date.

        Returns:
            The weights by their names in the network, ``training_curve`` (epochs, 2), see
            `fitting.Training.run`, and ``reconstruction_error``, its last one on held-out images.
        """
        saved = fitting.resume(checkpoint, generator, device)
        if saved:
            self.load(saved["learner"])
        curve = self.plan.run(
            self,
            images,
            held_out,
            saved,
            device=device,
            generator=generator,
            checkpoint=checkpoint,
        )
        return {
            **weight_arrays(self.network),
            "training_curve": curve,
            "reconstruction_error": curve[-1, 1],
        }

    def step(self, clean: Tensor, noisy: Tensor, rate: float) -> float:
        """Learn from one batch of images in [0, 1]; see `fitting.Learner`."""
        raise NotImplementedError

    def descend(self, loss: Tensor, rate: float) -> None:
        """Move the weights against the gradient of a loss, at a learning rate."""
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.longest)
        self.optimiser.step()

    def disturbed(self, images: Tensor, start: int) -> Tensor:
        """Held-out images ``(N, 3, H, W)`` from number ``start`` on, as the network gets them."""
        return images

    @torch.inference_mode()
    def error(self, images: Images) -> float:
        """The mean squared error per pixel and channel of 8-bit images."""
        device = next(self.network.parameters()).device
        size = self.plan.batch_size
        squares = 0.0
        for start in range(0, len(images), size):
            batch = to_tensor(images[start : start + size], device)
            inputs = self.disturbed(batch, start)
            with compute.autocast(device):
                squares += (self.network(inputs) - batch).square().sum().item()
        return squares / images.size

    def state(self) -> dict[str, Any]:
        """The network's weights and the optimiser's running means."""
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `state` gave."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
