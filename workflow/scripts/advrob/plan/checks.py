"""What is checked across the parts of a configuration, after the schema has checked each part."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import pretrained, zoos
from .errors import ConfigurationError, nearest, require_known
from .names import UNDEFENDED

if TYPE_CHECKING:
    from .plan import Plan

# Names that tables and figures presume to be of their own kind, and why.
RESERVED = {
    UNDEFENDED: "the control of every comparison",
    "pca": "the defence of figure 9 and of the number of images to fit",
    "noise": "the defence of figures 8, 11 and 12",
    "downsample": "the defence of figure 10",
    "conv_autoencoder": "the network of figure 1",
}


def check(plan: "Plan") -> None:
    """Refuse names that do not exist, and parts that do not fit together.

    Raises:
        ConfigurationError: with the key, what was found, and the nearest valid name.
    """
    _images(plan)
    _defences(plan)
    _models(plan)
    _experiments(plan)
    _preventive(plan)
    for model in plan.models:
        _published(plan, plan.universal(model).label)


def _images(plan: "Plan") -> None:
    images = plan["images"]
    if images["layout"] != "packages" and not (plan["images_root"] or "archive" in images):
        raise ConfigurationError(
            f"images_root: is not set, but the layout is {images['layout']}. Expected the folder "
            "or archive of the photographs. Set it on the command line with: --config "
            "images_root=/path"
        )


def _defences(plan: "Plan") -> None:
    defences: Mapping[str, Any] = plan["defences"]
    for name, why in RESERVED.items():
        if (kind := plan.defence_kind(name).name) != name:
            raise ConfigurationError(
                f"defences.{name}.kind: found '{kind}', expected {name}: the name is reserved for "
                f"{why}. Give the other defence another name."
            )
    chains = {name for name in defences if plan.defence_kind(name).name == "chain"}
    for chain in sorted(chains):
        for member in defences[chain]["defences"]:
            what = "a defence that can be a member (chains cannot)"
            require_known(f"defences.{chain}.defences", member, defences.keys() - chains, what)
    for name, entry in defences.items():
        key, declared = f"defences.{name}", plan.defence_kind(name)
        pretrained.check_weights(key, declared, entry)
        pretrained.check_classifier(key, declared, entry, plan["models"])


def _models(plan: "Plan") -> None:
    models: Mapping[str, Any] = plan["models"]
    used = {*plan["experiments.models"], *(plan["experiments.transfer"] or [])}
    used |= {network.model for name in plan["defences"] for network in plan.learned_from(name)}
    for name, entry in models.items():
        if "train" in entry or "base" in entry:
            _trained(name, plan)
            used.add(entry["base"])
    for name, entry in models.items():
        if plug_in := plan.plug_ins.get(("models", name)):
            zoos.check_entry(name, plug_in.kind(), entry)
        weights = entry.get("weights")
        if name in used and weights is None and _needs_weights(name, plan):
            raise ConfigurationError(
                f"models.{name}.weights: is missing. {plan.plug_ins['models', name].kind_name} has "
                "no weights of its own: name a file with them."
            )
        if name in used and weights is not None and not _is_file(weights):
            raise ConfigurationError(
                f"models.{name}.weights: found no file {weights}. Put the network's weights there, "
                "or name another file."
            )


def _needs_weights(name: str, plan: "Plan") -> bool:
    """Whether a model is pretrained and of a kind that has no weights of its own."""
    plug_in = plan.plug_ins.get(("models", name))
    return plug_in is not None and bool(plug_in.kind().traits.get("needs_weights"))


def _trained(name: str, plan: "Plan") -> None:
    models = plan["models"]
    key, entry = f"models.{name}", models[name]
    both = {"base", "train"}
    if unpaired := sorted(entry.keys() ^ both):
        problem = (
            f"extra.{nearest(unpaired[0], both - entry.keys())}"
            if unpaired[0] in entry
            else "missing."
        )
        raise ConfigurationError(
            f"{key}: {unpaired[0]} is {problem} A model that is trained has base, the name of "
            "another model, and train."
        )
    pretrained = [other for other in models if "train" not in models[other]]
    require_known(f"{key}.base", entry["base"], pretrained, "a model that is not trained itself")


def _experiments(plan: "Plan") -> None:
    experiments, defences = plan["experiments"], plan["defences"]
    for key in ("models", "transfer"):
        for model in experiments[key] or []:
            require_known(f"experiments.{key}", model, plan["models"], "a model")
    for key, names in (
        ("defences", experiments["defences"]),
        ("cross_tests", [defence for pair in experiments["cross_tests"] for defence in pair]),
        ("downsampling", experiments["downsampling"]),
        ("robustness.defences", experiments["robustness"]["defences"]),
        ("smoothing.defences", plan["experiments.smoothing.defences"] or []),
    ):
        for defence in names:
            require_known(f"experiments.{key}", defence, defences, "a defence")
    trained = [name for name in plan["models"] if plan.is_trained(name)]
    for model in plan["experiments.robustness.trained"] or []:
        require_known("experiments.robustness.trained", model, trained, "a model that is trained")
    for family, names in (plan["experiments.settings.candidates"] or {}).items():
        for defence in names:
            key = f"experiments.settings.candidates.{family}"
            require_known(key, defence, defences, "a defence")
            if any(map(plan.is_fitted, plan.members(defence))):
                raise ConfigurationError(
                    f"{key}: '{defence}' learns from the images to fit, so they cannot show how "
                    "good it is. Remove it."
                )
    for key in ("radii", "efforts"):
        if (values := experiments["robustness"][key]) != sorted(values):
            raise ConfigurationError(
                f"experiments.robustness.{key}: found {values}, expected numbers in ascending "
                "order."
            )
    for defence in experiments["downsampling"]:
        if plan.defence_kind(defence).name != "downsample":
            raise ConfigurationError(
                f"experiments.downsampling: '{defence}' has no ratio. Expected defences of the "
                "kind downsample."
            )


def _preventive(plan: "Plan") -> None:
    preventive, models = plan["experiments.preventive"], plan["models"]
    if not preventive:
        return
    key = "experiments.preventive"
    taught = [name for name in models if plan.is_trained(name)]
    control, others = preventive["control"], preventive["models"]
    require_known(f"{key}.control", control, taught, "a model that is trained")
    for model in others:
        require_known(f"{key}.models", model, taught, "a model that is trained")
        if model == control:
            raise ConfigurationError(
                f"{key}.models: found '{model}', which is the control. Expected the models that "
                "are compared with it. Remove it, or name another control."
            )
    for defence in preventive["defences"]:
        require_known(f"{key}.defences", defence, plan["defences"], "a defence")
    bases = {models[name]["base"] for name in [control, *others]}
    if len(bases) > 1:
        raise ConfigurationError(
            f"{key}: its models start from {', '.join(sorted(bases))}. Expected one base, so that "
            "they can be compared."
        )


def _published(plan: "Plan", name: str) -> None:
    """Refuse a published perturbation whose file is not there."""
    if name and not _is_file(file := plan["perturbations.published"][name]["file"]):
        raise ConfigurationError(
            f"perturbations.published.{name}.file: found no file {file}. Put the perturbation "
            "there as its authors publish it, or name another file."
        )


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # longer than the file system's names
        return False
