"""A job's network: the configured model behind the configured defence, with its fitted state."""

from collections.abc import Mapping
from typing import Any

import torch

from advrob import defences, models, store
from advrob.configuration import kind_of, parameters_of


def build(
    model: str,
    model_settings: Mapping[str, Any],
    defence: str,
    defence_settings: Mapping[str, Any],
    *,
    state: str | None,
    generator: torch.Generator,
    device: torch.device,
    mixed: bool = False,
) -> models.Network:
    """Build the network ``{model}/{defence}``.

    Args:
        model: the model's name in the configuration.
        model_settings: its entry there.
        defence: the defence's name in the configuration.
        defence_settings: its entry there.
        state: the file with the defence's fitted state, if it has one.
        generator: what a stochastic defence draws from.
        device: where the network runs.
        mixed: see `advrob.models.Network`.
    """
    built = build_defence(
        defence, defence_settings, state=state, generator=generator, device=device
    )
    return models.Network(built, models.build(model, model_settings, device), mixed=mixed)


def build_defence(
    name: str,
    settings: Mapping[str, Any],
    *,
    state: str | None,
    generator: torch.Generator,
    device: torch.device,
) -> defences.Defence:
    """Build a configured defence; the arguments are those of `build`."""
    kind = kind_of(name, settings)
    parameters = parameters_of(settings)
    if not state:
        return defences.build(kind, parameters, generator=generator, device=device)
    with store.read(state, "state/1") as file:
        return defences.build(kind, parameters, state=file, generator=generator, device=device)
