"""A convolutional autoencoder: convolutions and pooling down to a small code, and back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advrob import compute, fitting, job
from advrob.defences import Defence, Images
from advrob.pixels import to_tensor
from advrob.store import Array

# Side of the random crops that training sees: convolutions learned on them work on whole images.
CROP = 96
# Images at a time when the error on held-out images is measured.
EVALUATED = 16


class ConvolutionalAutoencoder(Defence):
    """Rebuild images from feature maps of a quarter of their side.

    After Masci, Meier, Ciresan and Schmidhuber, "Stacked convolutional auto-encoders for
    hierarchical feature extraction" (2011): convolutions with max-pooling between them encode,
    enlarging and convolutions decode. Trained as a whole on the squared error instead of layer by
    layer, on mirrored and shifted crops.

    Args:
        channels: feature maps of the first and the second stage and of the code. With the default
            16 maps a code has a third of the numbers of its image.
        epochs: passes over the images.
        batch_size: images to a step.
        learning_rate: of Adam at first; it falls to 0 along half a cosine.
        noise: standard deviation, in units of 1/255, of the normal noise in what is encoded but not
            in what is to be decoded.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int] = (32, 64, 16),
        epochs: int = 20,
        batch_size: int = 32,
        learning_rate: float = 0.002,
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        first, second, code = channels
        fitting.check(
            "conv_autoencoder",
            {"channels": min(channels), "batch_size": batch_size, "learning_rate": learning_rate},
            {"epochs": epochs, "noise": noise},
        )
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.noise = noise
        self.encoder = nn.Sequential(
            nn.Conv2d(3, first, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(first, second, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(second, code, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(code, second, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(second, first, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(first, 3, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Encode and decode images ``(N, 3, H, W)``; the result may leave [0, 1]."""
        height, width = images.shape[-2:]
        rebuilt = 0.5 + self.decoder(self.encoder(images - 0.5))
        # What pooling rounded up is cut off again.
        return rebuilt[..., :height, :width].to(images.dtype)

    def fit(
        self, images: Images, *, device: torch.device, generator: torch.Generator, checkpoint: Path
    ) -> Mapping[str, Array]:
        """Train on random crops, in bfloat16 where the hardware has it.

        Returns:
            the parameters by their names; ``training_curve`` (epochs, 2), mean squared errors per
            pixel and channel on crops of training images and on whole held-out images, pixels in
            [0, 1]; ``reconstruction_error``, on held-out images in the end.

        Raises:
            UserError: too few images.
        """
        seen, held_out = fitting.split(images, generator, "conv_autoencoder")
        self._initialise(generator)
        self.to(device).to(memory_format=torch.channels_last).requires_grad_()
        optimiser = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        training: dict[str, Any] = {"curve": []}
        if kept := fitting.resumed(checkpoint, generator, device):
            training = kept
            self.load_state_dict(training["parameters"])
            optimiser.load_state_dict(training["optimiser"])
        steps = len(fitting.batches(len(seen), self.batch_size, torch.Generator()))
        for epoch in fitting.epochs(training, self.epochs, generator, checkpoint):
            order = fitting.batches(len(seen), self.batch_size, generator)
            total = 0.0
            for step, chosen in enumerate(job.progress(order, f"epoch {epoch + 1}", len(order))):
                done = (epoch * steps + step) / (self.epochs * steps)
                optimiser.param_groups[0]["lr"] = (
                    self.learning_rate * (1 + np.cos(np.pi * done)) / 2
                )
                total += self._step(seen[chosen.numpy()], optimiser, generator, device)
            held_out_error = self._error(held_out, device)
            mean = total / len(order)
            training["curve"].append([mean, held_out_error])
            training["parameters"] = self.state_dict()
            training["optimiser"] = optimiser.state_dict()
            print(
                "epoch {}: error {:.6f}, held out {:.6f}".format(epoch + 1, *training["curve"][-1])
            )
        error = training["curve"][-1][1] if training["curve"] else self._error(held_out, device)
        return {name: value.cpu().numpy() for name, value in self.state_dict().items()} | {
            "training_curve": np.array(training["curve"]).reshape(-1, 2),
            "reconstruction_error": np.float64(error),
        }

    def _initialise(self, generator: torch.Generator) -> None:
        """He et al.'s initialisation, but for the last layer: training starts from grey images."""
        last = self.decoder[-1]
        assert isinstance(last, nn.Conv2d)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
                layer.bias.data.zero_()
        nn.init.zeros_(last.weight)

    def _step(
        self,
        levels: np.ndarray,
        optimiser: torch.optim.Optimizer,
        generator: torch.Generator,
        device: torch.device,
    ) -> float:
        """Learn from one batch of 8-bit images; return its mean squared error before the step."""
        varied = fitting.vary(fitting.crop(torch.from_numpy(levels), CROP, generator), generator)
        clean = to_tensor(varied.numpy(), device)
        noisy = clean
        if self.noise:
            noise = torch.randn(clean.shape, generator=generator).to(device)
            noisy = clean + noise * (self.noise / 255)
        with compute.autocast(device):
            rebuilt = self(noisy)
        loss = F.mse_loss(rebuilt.float(), clean)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    @torch.no_grad()
    def _error(self, images: np.ndarray, device: torch.device) -> float:
        """The mean squared error per pixel and channel on whole images."""
        total = 0.0
        for start in range(0, len(images), EVALUATED):
            clean = to_tensor(images[start : start + EVALUATED], device)
            total += F.mse_loss(self(clean), clean, reduction="sum").item()
        return total / images.size

    def load(self, state: h5py.Group) -> None:
        """Take the parameters."""
        self.load_state_dict({name: torch.from_numpy(state[name][:]) for name in self.state_dict()})
        self.to(memory_format=torch.channels_last)
