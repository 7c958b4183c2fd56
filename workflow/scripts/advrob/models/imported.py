"""Networks that a function of another package gives."""

import importlib
from collections.abc import Mapping
from typing import Annotated, Any

from torch import nn

from advrob.errors import UserError, mentions_memory, of_code
from advrob.models import NORMALISATIONS, Model, ModelKind
from advrob.models.checkpoints import Checkpoint


class ImportedModel(ModelKind):
    """A network from a function of another package, RobustBench or your own.

    It receives images in [0, 1] as they are and normalises them itself, unless the entry has a size
    or a normalisation.

    Args:
        function: package.module:name of a function that returns a torch.nn.Module, which maps RGB
            images in [0, 1] to logits. Its code runs in every job.
        arguments: keyword arguments of that function.
    """

    names = ("import",)

    def __init__(
        self,
        *,
        function: Annotated[str, {"pattern": "^[A-Za-z0-9_.]+:[A-Za-z0-9_]+$"}],
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.function = function
        self.arguments = dict(arguments or {})

    def build(self, name: str, checkpoint: Checkpoint | None) -> Model:
        """See `ModelKind.build`."""
        module, _, function = self.function.partition(":")
        key = f"models.{name}.function"
        try:
            make = getattr(importlib.import_module(module), function)
        except (Exception, SystemExit) as error:  # of whatever the module does
            raise UserError(
                f"{key}: '{self.function}' cannot be imported ({of_code(error)}). Expected "
                "package.module:name of a function; install the package, or name its folder in the "
                "environment variable PYTHONPATH."
            ) from error
        if not callable(make):
            raise UserError(
                f"{key}: '{self.function}' is an object of type {type(make).__name__}, expected a "
                "function that returns a torch.nn.Module. Name another."
            )
        try:
            network = make(**self.arguments)
        except (Exception, SystemExit) as error:
            if mentions_memory(error):
                raise
            raise UserError(
                f"{key}: '{self.function}' fails with the arguments {self.arguments} "
                f"({of_code(error)}). Correct models.{name}.arguments or its code."
            ) from error
        if not isinstance(network, nn.Module):
            raise UserError(
                f"{key}: '{self.function}' returned an object of type {type(network).__name__}, "
                "expected a torch.nn.Module that returns logits. Name another function, or "
                "correct its arguments."
            )
        if checkpoint:
            checkpoint.fill(network)
        return Model(network, NORMALISATIONS["none"], None)
