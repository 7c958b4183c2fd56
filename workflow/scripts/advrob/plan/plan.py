"""The plan: a configuration, read once into what everything above asks of it."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from . import pretrained, ranges, schema, versions
from .checks import check
from .contents import by_content, sha256
from .errors import ConfigurationError, did_you_mean, require_known
from .kinds import NORMS, Kind
from .names import (
    GRADIENT,
    PUBLISHED,
    UNIVERSAL,
    DataSet,
    Network,
    defence_file,
    model_file,
)

# Of the demonstration set: few photographs to learn from, so several views of each, and a warning.
DEMONSTRATION_CROPS = 8
DEMONSTRATION_NOTE = (
    "Demonstration set: 20 labelled photographs, so intervals are wide, and few images to fit. "
    "Draw no conclusions from it; presets/imagenette.yaml is the next step."
)
# The keys of experiments that say which networks they are made with.
NETWORKS = ("defences", "trained")
# On how many test images a network is looked over before it is evaluated.
CHECKUP_IMAGES = 20
# The ratios of downsampling in the paper's Table 3, and the names that its claims have for them.
PAPER_RATIOS = {0.5: "downsample", 0.75: "downsample_75"}

# Braces in the name of a data set, with what is inside, and also one alone.
BRACES = r"\{[^{}-]*\}?|[^{}-]*\}"


class NetworkDescription(TypedDict):
    """One value for a network: what a job needs to build it, as a rule's parameter.

    Attributes:
        model: the model's name in the configuration.
        defence: the defence's name.
        model_settings: the model's entry; a trained one's with its base's entry for the name.
        defence_settings: the defence's entry; a chain's with its members' entries for names.
        members: the names of the defences that images pass, in order.
        learned: the name of what was learned, ``defence NAME`` or ``model NAME``, to its file.
    """

    model: str
    defence: str
    model_settings: Mapping[str, Any]
    defence_settings: Mapping[str, Any]
    members: Sequence[str]
    learned: Mapping[str, str]


@dataclass(frozen=True)
class Attack:
    """A configured attack.

    Attributes:
        name: its name in the configuration, and the family of its data sets.
        kind: of an untargeted attack; None for the universal and the targeted one.
        entry: its entry in the configuration.
    """

    name: str
    kind: Kind | None
    entry: Mapping[str, Any]

    @property
    def values(self) -> Mapping[str, Any]:
        """The values of all of its keys."""
        return self.kind.values(self.entry) if self.kind else self.entry

    @property
    def norm(self) -> str:
        """The norm that it bounds: its key, or the only one that it has."""
        norms = self.kind.traits.get("norms", NORMS) if self.kind else NORMS
        return str(self.values.get("norm", norms[0]))

    @property
    def radius(self) -> float:
        """The bound, in units of 1/255."""
        return float(self.values["radius"])

    @property
    def options(self) -> dict[str, Any]:
        """The hyperparameters that its entry gives."""
        return {key: value for key, value in self.entry.items() if key != "kind"}

    @property
    def real_valued(self) -> bool:
        """Whether it searches among real-valued images."""
        return self.values.get("levels", 256) is None

    @property
    def needs_gradient(self) -> bool:
        """Whether it asks the network for gradients."""
        return self.kind is None or bool(self.kind.traits.get("needs_gradient", True))


class Plan:
    """What is run, by a valid configuration.

    Args:
        config: as Snakemake gives it: the default, overlaid with the user's files.

    Raises:
        ConfigurationError: a value cannot be right. The message names the key, what was found, what
            was expected, and the nearest valid name.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        configured = schema.without_nulls(config)
        if mistake := schema.mistake(configured):
            raise ConfigurationError(mistake)
        self.config: dict[str, Any] = schema.filled(configured)
        self.config["defences"] |= _fit_defences(self.config)
        _complete_images(self.config["images"])
        self.plug_ins = {plug_in.path: plug_in for plug_in in schema.plug_ins(self.config)}
        check(self)
        ranges.check(self)

    def __getitem__(self, key: str) -> Any:
        """The value of a dotted key; None where it is not given."""
        value: Any = self.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    # Models and defences ----------------------------------------------------------------------

    def defence_kind(self, defence: str) -> Kind:
        """The kind of a configured defence."""
        return self.plug_ins["defences", defence].kind()

    def is_fitted(self, defence: str) -> bool:
        """Whether a configured defence learns from images."""
        return self.defence_kind(defence).fitted

    def members(self, defence: str) -> list[str]:
        """The defences that images pass: a chain's members in order, or just this one."""
        entry = self.config["defences"][defence]
        return list(entry["defences"]) if self.defence_kind(defence).name == "chain" else [defence]

    def is_stochastic(self, defence: str) -> bool:
        """Whether two passes through a configured defence may differ."""

        def draws(member: str) -> bool:
            kind = self.defence_kind(member)
            values = kind.values(self.config["defences"][member])
            switch = kind.traits.get("stochastic_if", "")
            return bool(kind.traits.get("stochastic")) and values.get(switch) != 0

        return any(map(draws, self.members(defence)))

    def is_trained(self, model: str) -> bool:
        """Whether a model is trained here."""
        return "train" in self.config["models"][model]

    def learned_from(self, defence: str) -> list[Network]:
        """The model whose predictions a defence learns from, if its entry names one."""
        entry = self.config["defences"][defence]
        name = pretrained.classifier(self.defence_kind(defence), entry)
        return [] if name is None else [Network(name)]

    def defence_settings(self, defence: str) -> dict[str, Any]:
        """A defence's entry, in which contents replace names.

        The contents are the entries of a chain's members, the entry of the model that is learned
        from, and the checksum of a file of weights.
        """
        entry, kind = dict(self.config["defences"][defence]), self.defence_kind(defence)
        if kind.name == "chain":
            entry["defences"] = [
                {"kind": self.defence_kind(member).name, **self.defence_settings(member)}
                for member in entry["defences"]
            ]
        for network in self.learned_from(defence):
            model_entry = self.model_settings(network.model)
            entry[kind.traits["classifier"]] = {"model": network.model, **model_entry}
        if "sha256" in kind.keys and (file := pretrained.weights_file(kind, entry)):
            entry["sha256"] = sha256(file)
        return entry

    def model_settings(self, model: str) -> dict[str, Any]:
        """A model's entry; a trained one's with its base's entry in place of the name."""
        entry = dict(self.config["models"][model])
        if self.is_trained(model):
            base = entry["base"]
            entry["base"] = {
                "kind": self.config["models"][base].get("kind", base),
                **self.config["models"][base],
            }
        return entry

    def learned_files(self, network: Network) -> list[str]:
        """The files with what a network learned: fitted parts of its defence, then its model."""
        fitted = [
            defence_file(name) for name in self.members(network.defence) if self.is_fitted(name)
        ]
        return fitted + ([model_file(network.model)] if self.is_trained(network.model) else [])

    def describe(self, network: Network, files: Sequence[str] = ()) -> NetworkDescription:
        """All that a job needs to build a network.

        Args:
            network: by its names.
            files: `learned_files` as the job finds them. A workflow that imports this one may put
                them into a folder, so they are known by the ends of their paths.
        """
        by_path = {(Path(file).parent.name, Path(file).stem): str(file) for file in files}
        learned = {
            f"{'model' if folder == 'models' else 'defence'} {stem}": file
            for (folder, stem), file in by_path.items()
        }
        return {
            "model": network.model,
            "defence": network.defence,
            "model_settings": self.model_settings(network.model),
            "defence_settings": self.defence_settings(network.defence),
            "members": self.members(network.defence),
            "learned": learned,
        }

    # Versions ---------------------------------------------------------------------------------

    def modules(self, network: Network) -> list[str]:
        """The plug-ins that a network consists of, as modules of the library."""
        names = dict.fromkeys([network.defence, *self.members(network.defence)])
        model = network.model
        base = self.config["models"][model].get("base", model)
        return [
            *(self.defence_kind(name).module for name in names),
            self.plug_ins["models", base].kind().module,
        ]

    def code(self, script: str, *networks: Network, modules: Iterable[str] = ()) -> str:
        """The version of what is behind a job: a script, networks, and further plug-ins.

        Settings of networks are in it, too, with checksums for files of weights: a rule's
        description of a network names files, and Snakemake compares no parameter that depends on
        input.
        """
        every = [module for network in networks for module in self.modules(network)]
        code = versions.code_version(script, *dict.fromkeys([*every, *modules]))
        if not networks:
            return code
        descriptions = json.dumps(
            [by_content(self.describe(network)) for network in networks], sort_keys=True
        )
        return f"{code}-{hashlib.sha256(descriptions.encode()).hexdigest()[:16]}"

    def fitting_code(self, defence: str) -> str:
        """The version of the code that fits a defence."""
        models = self.learned_from(defence)
        # The script imports the module that builds models by its name, if there is a model.
        builder = ["networks"] if models else []
        return self.code("defence", *models, modules=[self.defence_kind(defence).module, *builder])

    # Attacks ----------------------------------------------------------------------------------

    @property
    def attacks(self) -> dict[str, Attack]:
        """Every attack on single networks, by the family of its data sets."""
        perturbations = self.config["perturbations"]
        return {
            UNIVERSAL: Attack(UNIVERSAL, None, perturbations["universal"]),
            GRADIENT: Attack(GRADIENT, None, perturbations["gradient"]),
            **{name: self.attack(name) for name in perturbations["untargeted"]},
        }

    @property
    def calibrated(self) -> dict[str, dict[str, Any]]:
        """The attacks that are measured on networks of known robustness, as a job's parameter."""
        return {
            name: {"kind": attack.kind.name, "norm": attack.norm, "options": attack.options}
            for name, attack in self.attacks.items()
            if attack.kind
        }

    def attack(self, name: str) -> Attack:
        """An untargeted attack."""
        plug_in = self.plug_ins["perturbations", "untargeted", name]
        return Attack(name, plug_in.kind(), plug_in.entry)

    @property
    def universal_kind(self) -> Kind:
        """The method of universal perturbations."""
        return self.plug_ins["perturbations", "universal"].kind()

    def lesson_kind(self, model: str) -> Kind:
        """The lesson of a trained model."""
        return self.plug_ins["models", model, "train"].kind()

    # Experiments ------------------------------------------------------------------------------

    @property
    def models(self) -> list[str]:
        """The models that tables and figures are about."""
        return list(self.config["experiments"]["models"])

    def protocol(self, experiment: str) -> dict[str, Any]:
        """How an experiment treats each of its networks, as a job's parameter.

        Which networks it is made with is left out: one more changes nothing for the others.
        """
        settings: dict[str, Any] = self["experiments"][experiment] or {}
        return {key: value for key, value in settings.items() if key not in NETWORKS}

    def sample(self, images: int) -> dict[str, Any]:
        """Which test images an experiment on ``images`` of them draws, as a job's parameter."""
        return {"count": images, "pattern": self["images.unseen"]}

    def universal(self, model: str) -> DataSet:
        """The data set that plays the paper's Universal for a model."""
        return self.dataset("experiments.universal", self["experiments.universal"], model)

    def dataset(self, key: str, template: str, model: str) -> DataSet:
        """The data set of a name with ``{model}`` in it, if it can be made.

        Raises:
            ConfigurationError: it cannot.
        """
        name = template.replace("{model}", model)
        if "{" in name or "}" in name:
            raise ConfigurationError(
                f"{key}: found '{template}', expected no name in braces except {{model}}, which "
                f"stands for each model.{did_you_mean([re.sub(BRACES, '{model}', template)])}"
            )
        try:
            dataset = DataSet.parse(name)
        except ValueError as error:
            raise ConfigurationError(f"{key}: {error}") from None
        require_known(
            key, dataset.family, (UNIVERSAL, PUBLISHED), "a family of perturbed data sets"
        )
        if dataset.family == PUBLISHED:
            published = self["perturbations.published"]
            require_known(key, dataset.label, published, "a published perturbation")
        elif dataset.target:
            require_known(key, dataset.target.model, self.config["models"], "a model")
            require_known(key, dataset.target.defence, self.config["defences"], "a defence")
        return dataset

    @property
    def parts(self) -> dict[str, str]:
        """The configured defences by the part that they play in the paper's claims.

        That is their own name, but for downsampling, which goes by its ratio, and for the principal
        components of the fewest images. See `advrob.findings.claims`.
        """
        defences = self.config["defences"]
        played = {name: name for name in defences if name not in PAPER_RATIOS.values()}
        for name, entry in defences.items():
            if self.defence_kind(name).name == "downsample" and entry["ratio"] in PAPER_RATIOS:
                played.setdefault(PAPER_RATIOS[entry["ratio"]], name)
        if sizes := self["experiments.fit_images"]:
            played["pca_fewest"] = f"pca_{min(sizes)}"
        return played

    @property
    def grown(self) -> list[str]:
        """The principal components of the paper's defence, and of fewer images, ascending."""
        return [*(f"pca_{n}" for n in sorted(self["experiments.fit_images"] or [])), "pca"]


def _complete_images(images: dict[str, Any]) -> None:
    """Fill in what depends on whether the photographs are the demonstration set."""
    demonstration = images["layout"] == "packages" and "packages" not in images["test"]
    images["test"].setdefault("crops", 1)
    images["fit"].setdefault("crops", DEMONSTRATION_CROPS if demonstration else 1)
    if demonstration and images["note"] is None:
        images["note"] = DEMONSTRATION_NOTE


def _fit_defences(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries that ``experiments.fit_images`` adds to ``defences``: ``pca`` of fewer images."""
    entry = config["defences"]["pca"]
    added = {
        f"pca_{images}": {"kind": entry.get("kind", "pca"), **entry, "images": images}
        for images in sorted(config["experiments"].get("fit_images") or [])
    }
    for name in sorted(added.keys() & config["defences"].keys()):
        raise ConfigurationError(
            f"experiments.fit_images: adds a defence {name}, but the configuration has one of that "
            "name. Rename that one, or leave the number out."
        )
    return added
