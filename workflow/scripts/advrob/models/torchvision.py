"""Networks of torchvision's zoo."""

from collections.abc import Mapping
from typing import Any

from torchvision import models as zoo

from advrob.models import Model, ModelKind
from advrob.models.checkpoints import Checkpoint
from advrob.models.zoo import check_known, download


class TorchvisionModel(ModelKind):
    """A network of torchvision's zoo, with its default weights, normalisation and input size.

    Args:
        architecture: its name in the zoo; by default the entry's own.
        arguments: keyword arguments of the zoo's function, ``num_classes`` for example.
    """

    def __init__(
        self, *, architecture: str | None = None, arguments: Mapping[str, Any] | None = None
    ) -> None:
        self.architecture = architecture
        self.arguments = dict(arguments or {})

    def build(self, name: str, checkpoint: Checkpoint | None) -> Model:
        """See `ModelKind.build`."""
        architecture = self.architecture or name
        check_known(name, "torchvision", architecture, zoo.list_models(module=zoo))
        default = zoo.get_model_weights(architecture).DEFAULT
        if checkpoint:
            network = zoo.get_model(architecture, weights=None, **self.arguments)
            checkpoint.fill(network)
        else:
            with download(name):
                network = zoo.get_model(architecture, weights=default, **self.arguments)
        preset = default.transforms()
        normalisation = (tuple(preset.mean), tuple(preset.std), False)
        return Model(network, normalisation, preset.crop_size[0])
