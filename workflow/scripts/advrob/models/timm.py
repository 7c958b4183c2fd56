"""Networks of timm's zoo."""

from collections.abc import Mapping
from typing import Any

import timm as zoo
from torch import nn

from advrob.models import Model, ModelKind
from advrob.models.checkpoints import Checkpoint
from advrob.models.zoo import check_known, download


class TimmModel(ModelKind):
    """A network of timm's zoo, with its default weights, normalisation and input size.

    Args:
        architecture: its name in the zoo, with the weights' tag if you like (resnet50.a1_in1k); by
            default the entry's own.
        arguments: keyword arguments of timm's create_model, ``num_classes`` for example.
    """

    def __init__(
        self, *, architecture: str | None = None, arguments: Mapping[str, Any] | None = None
    ) -> None:
        self.architecture = architecture
        self.arguments = dict(arguments or {})

    def build(self, name: str, checkpoint: Checkpoint | None) -> Model:
        """See `ModelKind.build`."""
        architecture = self.architecture or name
        if not zoo.is_model(architecture):
            check_known(name, "timm", architecture, zoo.list_models())
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
        # timm converts its networks' original releases and resizes positions where it fetches
        # weights, and so it does with tensors that are given in their place.
        given = {"state_dict": checkpoint.largest(), "num_classes": network.num_classes}
        arguments = dict(self.arguments)
        overlay = arguments.pop("pretrained_cfg_overlay", {}) | given
        with checkpoint.architecture():
            return zoo.create_model(
                architecture, pretrained=True, pretrained_cfg_overlay=overlay, **arguments
            )
