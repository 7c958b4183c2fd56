"""A job's network: the configured model behind the configured defence, with its fitted state."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from advrob import defences, models
from advrob.defences import Defence, straight_through
from advrob.defences.none import Identity
from advrob.files import store
from advrob.images.layout import Layout
from advrob.job.compute import autocast
from advrob.plan.contents import by_content
from advrob.plan.names import DataSet
from advrob.plan.names import Network as Target
from advrob.plan.plan import NetworkDescription


class Network(nn.Module):
    """A model behind a defence: what is attacked and scored.

    Args:
        defence: images to images.
        model: images to logits.
        mixed: whether to multiply in bfloat16 where the hardware has it: for attacks, never for
            predictions that are reported.
    """

    defence: Defence

    def __init__(self, defence: Defence, model: nn.Module, *, mixed: bool = False) -> None:
        super().__init__()
        self.defence = defence
        self.model = model
        self.mixed = mixed
        self._layout = Layout(f"The defence {type(defence).__name__}")

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)``, float32, of images ``(N, 3, H, W)`` in [0, 1]."""
        if not self.mixed:
            return self.model(self.defended(images))
        with autocast(images.device):
            return self.model(self.defended(images)).float()

    def defended(self, images: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)`` behind the defence.

        It is given a copy: other people's defences may write into what they are given.
        """
        return self._layout.call(self.defence, images.clone(), self.defence.generator)

    def undefended(self) -> "Network":
        """The model alone."""
        return Network(Identity(), self.model, mixed=self.mixed)

    def rerouted(self, backward: Callable[[Tensor], Tensor]) -> "Network":
        """The network whose defence has the backward pass of another map from images to images."""
        return Network(_Rerouted(self.defence, backward), self.model, mixed=self.mixed)


class _Rerouted(Defence):
    """A defence with the backward pass of another map."""

    def __init__(self, defence: Defence, backward: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.defence, self.backward = defence, backward
        self.stochastic, self.generator = defence.stochastic, defence.generator

    def forward(self, images: Tensor) -> Tensor:
        """The defence's images."""
        with torch.no_grad():
            value = self.defence(images)
        return straight_through(value, self.backward(images))


def build(
    network: NetworkDescription,
    *,
    generator: torch.Generator | None = None,
    device: torch.device,
    mixed: bool = False,
) -> Network:
    """Build a configured network with what it learned.

    Args:
        network: its description.
        generator: what a stochastic defence draws from; without one it must be given one before
            it is used.
        device: where the network runs.
        mixed: see `Network`.
    """
    defence = build_defence(network, generator=generator, device=device)
    return Network(defence, build_model(network, device=device), mixed=mixed)


def build_model(network: NetworkDescription, *, device: torch.device) -> models.Model:
    """Build the model of a configured network; the arguments are those of `build`."""
    name, entry = network["model"], network["model_settings"]
    learned = network["learned"].get(f"model {name}")
    if learned is None:
        return models.build(name, entry, device)
    with store.read(learned, "state/1") as file:
        return models.build(name, entry, device, state=file)


def build_defence(
    network: NetworkDescription, *, generator: torch.Generator | None, device: torch.device
) -> Defence:
    """Build the defence of a configured network; the arguments are those of `build`."""

    def built(name: str, entry: Mapping[str, Any]) -> Defence:
        kind = entry.get("kind", name)
        parameters = {key: value for key, value in entry.items() if key != "kind"}
        if kind == "chain":
            parameters["defences"] = [
                built(member, entry)
                for member, entry in zip(network["members"], parameters["defences"], strict=True)
            ]
        learned = network["learned"].get(f"defence {name}")
        if learned is None:
            return defences.build(kind, parameters, generator=generator, device=device)
        with store.read(learned, "state/1") as file:
            return defences.build(kind, parameters, state=file, generator=generator, device=device)

    return built(network["defence"], network["defence_settings"])


def params(
    network: NetworkDescription, attack: str | None = None, /, **made_with: Any
) -> dict[str, Any]:
    """What a file records of the network that it was made with.

    Args:
        network: its description.
        attack: the family of the data set, where an attack on this network makes it; its name is
            then recorded, too.
        made_with: what else is recorded.
    """
    model, defence = network["model"], network["defence"]
    made = {"dataset": DataSet(attack, Target(model, defence)).name} if attack else {}
    return {
        "model": model,
        "defence": defence,
        "model_settings": by_content(network["model_settings"]),
        "defence_settings": by_content(network["defence_settings"]),
        **made,
        **made_with,
    }
