"""Networks of torchvision's zoo."""

from collections.abc import Mapping
from typing import Any

from torchvision import models as zoo
from torchvision.models import WeightsEnum

from advrob.models import Model, ModelKind
from advrob.models.checkpoints import Checkpoint
from advrob.models.zoo import check_architecture, download

# What torchvision's functions set where they fetch weights, which were trained elsewhere: images in
# [-1, 1], made of normalised ones inside the network.
GOOGLES = {"inception_v3", "googlenet"}
# Heads that were trained as well, and that prediction does not use.
AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")


class TorchvisionModel(ModelKind):
    """A network of torchvision's zoo, with its default weights, normalisation and input size.

    With weights from a file, a network is built as torchvision builds it when it downloads them.
    For inception_v3 and googlenet that sets transform_input; set it to false in the arguments if
    the weights do not come from torchvision.

    Args:
        architecture: its name in the zoo. Default is the entry's own name.
        arguments: keyword arguments of the zoo's function, ``num_classes`` for example.
    """

    zoo = "torchvision"

    def __init__(
        self, *, architecture: str | None = None, arguments: Mapping[str, Any] | None = None
    ) -> None:
        self.architecture = architecture
        self.arguments = dict(arguments or {})

    def build(self, name: str, checkpoint: Checkpoint | None) -> Model:
        """See `ModelKind.build`."""
        architecture = self.architecture or name
        check_architecture(name, "torchvision", architecture, zoo.list_models(module=zoo))
        available = zoo.get_model_weights(architecture)
        weights = available.DEFAULT
        if checkpoint:
            # A file that torchvision once fetched still has its name.
            file = checkpoint.path.name
            weights = next((w for w in available if w.url.endswith(f"/{file}")), weights)
            arguments = fetch_arguments(architecture, weights) | self.arguments
            network = zoo.get_model(architecture, weights=None, **arguments)
            checkpoint.fill(network, ignored=AUXILIARY)
        else:
            with download(name):
                network = zoo.get_model(architecture, weights=weights, **self.arguments)
        preset = weights.transforms()
        normalisation = (tuple(preset.mean), tuple(preset.std), False)
        return Model(network, normalisation, preset.crop_size[0])


def fetch_arguments(architecture: str, weights: WeightsEnum) -> dict[str, Any]:
    """The arguments that torchvision adds where it fetches these weights itself."""
    if architecture in GOOGLES:
        return {"transform_input": True, "aux_logits": False, "init_weights": False}
    side, _ = weights.meta.get("min_size", (None, None))
    if architecture.startswith("vit_"):
        return {"image_size": side}
    return {"input_size": (side, side)} if architecture.startswith("maxvit_") else {}
