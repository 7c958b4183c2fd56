import numpy as np
import pytest
import torch
from torch import nn

from advrob.defences import Defence
from advrob.defences.none import Identity
from advrob.errors import UserError
from advrob.models import prediction
from advrob.networks import Network

CPU = torch.device("cpu")


class Brightness(nn.Module):
    """Two classes: dark and bright."""

    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(mean), 20 * (mean - 0.5)], dim=1)


def test_predictions_and_confidences_do_not_depend_on_the_batch():
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 3), dtype=np.uint8)
    images[::2] //= 2
    mean = images.mean((1, 2, 3)) / 255
    probability = 1 / (1 + np.exp(-20 * (mean - 0.5)))
    for batch_size in (1, 3, 7, 100):
        predicted, confidence = prediction.predict(
            [Brightness(), nn.Sequential(Brightness(), nn.Softmax(1))],
            images,
            batch_size=batch_size,
            device=CPU,
        )
        assert predicted.shape == confidence.shape == (2, 7)
        np.testing.assert_array_equal(predicted[0], (mean > 0.5).astype(int))
        np.testing.assert_array_equal(predicted[1], predicted[0])
        np.testing.assert_allclose(
            confidence[0], np.maximum(probability, 1 - probability), rtol=1e-4
        )


def test_a_network_shows_the_model_what_the_defence_gives():
    class Darken(Defence):
        def forward(self, images):
            return images * 0

    network = Network(Darken(), Brightness(), mixed=False)
    assert network(torch.ones(3, 3, 4, 4)).argmax(1).tolist() == [0, 0, 0]


def test_mixed_precision_gives_float32_logits_close_to_the_exact_ones():
    layers = nn.Sequential(nn.Flatten(), nn.Linear(48, 5)).requires_grad_(False)
    images = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    exact = Network(Identity(), layers, mixed=False)(images)
    mixed = Network(Identity(), layers, mixed=True)(images)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, exact, rtol=0, atol=0.05)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_end_in_a_sentence(value):
    class Broken(nn.Module):
        def forward(self, images):
            logits = torch.zeros(len(images), 3)
            logits[images.mean((1, 2, 3)) > 0.5] = value
            return logits

    images = np.zeros((5, 4, 4, 3), np.uint8)
    images[3] = 255
    with pytest.raises(UserError, match=r"^m/none: the logits of image 3 .* not finite"):
        prediction.predict([Broken()], images, batch_size=2, device=CPU, name="m/none")


def test_what_a_network_keeps_of_a_prediction_serves_gradients():
    """Some of timm's transformers keep positions."""

    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.cache = {}

        def forward(self, images):
            scale = self.cache.setdefault("scale", torch.ones(3, device=images.device) * 2)
            return images.mean((2, 3)) * scale

    network = Keeping()
    images = np.zeros((2, 4, 4, 3), np.uint8)
    prediction.predict([network], images, batch_size=2, device=CPU)
    attacked = torch.zeros(2, 3, 4, 4, requires_grad=True)
    network(attacked).sum().backward()
    assert attacked.grad is not None
