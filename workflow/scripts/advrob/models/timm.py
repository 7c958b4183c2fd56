"""Networks of timm's zoo."""

from collections.abc import Mapping
from typing import Any

import timm as zoo
from torch import nn

from advrob.models import Model, ModelKind
from advrob.models.checkpoints import Checkpoint
from advrob.models.zoo import check_architecture, download


class TimmModel(ModelKind):
    """A network of timm's zoo, with its default weights, normalisation and input size.

    Args:
        architecture: its name in the zoo, optionally with the tag of the weights
            (resnet50.a1_in1k). Default is the entry's own name.
        arguments: keyword arguments of timm's create_model, ``num_classes`` for example.
    """

    zoo = "timm"

    def __init__(
        self, *, architecture: str | None = None, arguments: Mapping[str, Any] | None = None
    ) -> None:
        self.architecture = architecture
        self.arguments = dict(arguments or {})

    def build(self, name: str, checkpoint: Checkpoint | None) -> Model:
        """See `ModelKind.build`."""
        architecture = self.architecture or name
        if not zoo.is_model(architecture):
            check_architecture(name, "timm", architecture, zoo.list_models())
        if checkpoint:
            network = self._filled(architecture, checkpoint)
        else:
            with download(name):
                network = zoo.create_model(architecture, pretrained=True, **self.arguments)
        config = zoo.data.resolve_model_data_config(network)
        return Model(network, (config["mean"], config["std"], False), config["input_size"][-1])

    def _filled(self, architecture: str, checkpoint: Checkpoint) -> nn.Module:
        network = zoo.create_model(architecture, pretrained=False, **self.arguments)
        if checkpoint.fits(network):
            checkpoint.fill(network)
            return network
        # Where timm fetches weights it converts original releases and resizes position embeddings;
        # it does the same with tensors that take their place.
        source = {"state_dict": checkpoint.largest(), "num_classes": network.num_classes}
        arguments = dict(self.arguments)
        overlay = arguments.pop("pretrained_cfg_overlay", {}) | source
        with checkpoint.architecture():
            return zoo.create_model(
                architecture, pretrained=True, pretrained_cfg_overlay=overlay, **arguments
            )
