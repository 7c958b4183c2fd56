"""Networks of torchvision's zoo."""

from collections.abc import Mapping
from typing import Any

from torchvision import models as zoo
from torchvision.models import WeightsEnum

from advrob.models import Model, ModelKind
from advrob.models.checkpoints import Checkpoint
from advrob.models.zoo import check_known, download

# What torchvision's functions set where they fetch weights, which were trained elsewhere: images in
# [-1, 1], made of normalised ones inside the network.
GOOGLES = {"inception_v3", "googlenet"}
# Heads that learned along and that nothing asks afterwards.
AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")


class TorchvisionModel(ModelKind):
    """A network of torchvision's zoo, with its default weights, normalisation and input size.

    Weights from a file meet what torchvision decides where it fetches them itself. For inception_v3
    and googlenet that is transform_input, which you set to false in the arguments for weights that
    do not come from torchvision.

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
        weights = zoo.get_model_weights(architecture)
        chosen = weights.DEFAULT
        if checkpoint:
            # A file that torchvision itself fetched at another time has kept its name.
            file = checkpoint.path.name
            chosen = next((w for w in weights if w.url.endswith(f"/{file}")), chosen)
            arguments = decided(architecture, chosen) | self.arguments
            network = zoo.get_model(architecture, weights=None, **arguments)
            checkpoint.fill(network, spare=AUXILIARY)
        else:
            with download(name):
                network = zoo.get_model(architecture, weights=chosen, **self.arguments)
        preset = chosen.transforms()
        normalisation = (tuple(preset.mean), tuple(preset.std), False)
        return Model(network, normalisation, preset.crop_size[0])


def decided(architecture: str, weights: WeightsEnum) -> dict[str, Any]:
    """The arguments that torchvision adds where it fetches these weights itself."""
    if architecture in GOOGLES:
        return {"transform_input": True, "aux_logits": False, "init_weights": False}
    side, _ = weights.meta.get("min_size", (None, None))
    if architecture.startswith("vit_"):
        return {"image_size": side}
    return {"input_size": (side, side)} if architecture.startswith("maxvit_") else {}
