"""A job's network: the configured model behind the configured defence, with its fitted state."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from advrob import defences, models
from advrob.defences import Defence
from advrob.files import store
from advrob.job.compute import autocast
from advrob.plan.configuration import defence_kind, kind_of, parameters_of


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

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)``, float32, of images ``(N, 3, H, W)`` in [0, 1]."""
        if not self.mixed:
            return self.model(self.defence(images))
        with autocast(images.device):
            return self.model(self.defence(images)).float()


def build(
    model: str,
    model_settings: Mapping[str, Any],
    defence: str,
    defence_settings: Mapping[str, Any],
    *,
    state: Sequence[str],
    generator: torch.Generator | None = None,
    device: torch.device,
    mixed: bool = False,
) -> Network:
    """Build the network ``{model}/{defence}``.

    Args:
        model: the model's name in the configuration.
        model_settings: its entry there.
        defence: the defence's name in the configuration.
        defence_settings: its entry there; a chain's with its members' entries instead of names.
        state: the files with what was learned: by the fitted members of the defence, in order, and
            by the model if it is trained.
        generator: what a stochastic defence draws from; without one it must be given one before
            it is used.
        device: where the network runs.
        mixed: see ``Network`.
    """
    trained = "train" in model_settings
    parts, own = (state[:-1], state[-1:]) if trained else (state, ())
    built = build_defence(
        defence, defence_settings, state=parts, generator=generator, device=device
    )
    classifier = build_model(model, model_settings, state=own, device=device)
    return Network(built, classifier, mixed=mixed)


def build_model(
    name: str,
    settings: Mapping[str, Any],
    *,
    state: Sequence[str],
    device: torch.device,
) -> models.Model:
    """Build a configured model.

    Args:
        name: its name in the configuration.
        settings: its entry there, with its base's if it is trained.
        state: the file with what it learned, if it is trained.
        device: where it runs.
    """
    if not state:
        return models.build(name, settings, device)
    with store.read(state[0], "state/1") as file:
        return models.build(name, settings, device, state=file)


def params(
    model: str,
    model_settings: Mapping[str, Any],
    defence: str,
    defence_settings: Mapping[str, Any],
) -> dict[str, Any]:
    """What a file that a network had a hand in tells of it; the arguments are those of `build`."""
    return {
        "model": model,
        "defence": defence,
        "model_settings": model_settings,
        "defence_settings": defence_settings,
    }


def build_defence(
    name: str,
    settings: Mapping[str, Any],
    *,
    state: Sequence[str],
    generator: torch.Generator | None,
    device: torch.device,
) -> Defence:
    """Build a configured defence; the arguments are those of `build`."""
    files = iter(state)

    def built(name: str, settings: Mapping[str, Any]) -> Defence:
        kind, parameters = kind_of(name, settings), parameters_of(settings)
        if kind == "chain":
            parameters["defences"] = [built("chain", member) for member in parameters["defences"]]
        if not defence_kind(kind).fitted:
            return defences.build(kind, parameters, generator=generator, device=device)
        with store.read(next(files), "state/1") as file:
            return defences.build(kind, parameters, state=file, generator=generator, device=device)

    return built(name, settings)
