"""What the Snakefile asks about the configuration and the code, without importing PyTorch.

Snakemake reads the Snakefile on every call and in every cluster job, so this module reads the
library's source instead of importing it.
"""

import ast
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).parent.parent
SCRIPTS = LIBRARY.parent
DEFENCES = LIBRARY / "defences"


# Keys of perturbations.universal that only one of the methods has.
METHOD_KEYS = {
    "deepfool": {"classes", "overshoot", "steps"},
    "stochastic_gradient": {"step"},
}
# What an entry of models can be.
MODEL_KINDS = ("googlenet", "efficientnet_lite0", "torchvision", "timm", "import")
# Keys of a model's train that only some methods have; none but tasks is needed.
LESSON_KEYS = {
    "standard": set[str](),
    "universal": {"radius", "step"},
    "free": {"radius", "replays"},
    "pgd": {"radius", "iterations", "step"},
    "gan": {"radius", "latent", "realism"},
    "multitask": {"tasks"},
}
# Keys of an entry of perturbations.untargeted, by its kind; all of them are needed.
ATTACK_KEYS = {
    "pgd": {"norm", "radius", "step", "iterations"},
    "apgd": {"loss", "norm", "radius", "iterations"},
    "square": {"radius", "queries"},
}


class ConfigurationError(ValueError):
    """A value in the configuration that cannot be right; the message names its key."""


@dataclass(frozen=True)
class Kind:
    """A defence's file, read without running it.

    Attributes:
        parameters: the keywords of its constructor; True for those without a default.
        fitted: whether it learns from images.
    """

    parameters: Mapping[str, bool]
    fitted: bool


@cache
def defence_kind(kind: str) -> Kind:
    """What ``defences/<kind>.py`` declares."""
    parameters: dict[str, bool] = {}
    methods: set[str] = set()
    for node in _tree(DEFENCES / f"{kind}.py").body:
        if isinstance(node, ast.ClassDef) and any(
            isinstance(base, ast.Name) and base.id == "Defence" for base in node.bases
        ):
            for item in node.body:
                if isinstance(item, ast.FunctionDef):
                    methods.add(item.name)
                    if item.name == "__init__":
                        names = (argument.arg for argument in item.args.kwonlyargs)
                        required = (default is None for default in item.args.kw_defaults)
                        parameters.update(zip(names, required, strict=True))
    return Kind(parameters, "fit" in methods)


def kind_of(name: str, entry: Mapping[str, Any]) -> str:
    """The kind of a configuration entry: its own name, unless it says another."""
    return str(entry.get("kind", name))


def parameters_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration entry gives to its kind: all but the kind's name."""
    return {key: value for key, value in entry.items() if key != "kind"}


def is_fitted(config: Mapping[str, Any], defence: str) -> bool:
    """Whether a configured defence learns from images."""
    return defence_kind(kind_of(defence, config["defences"][defence])).fitted


def members(config: Mapping[str, Any], defence: str) -> list[str]:
    """The configured defences that images pass: a chain's members in order, or just this one."""
    entry = config["defences"][defence]
    return list(entry["defences"]) if kind_of(defence, entry) == "chain" else [defence]


def described(config: Mapping[str, Any], defence: str) -> dict[str, Any]:
    """A configured defence's entry; a chain's with its members' entries in place of their names."""
    entry = dict(config["defences"][defence])
    if kind_of(defence, entry) == "chain":
        entry["defences"] = [
            {"kind": kind_of(member, config["defences"][member]), **config["defences"][member]}
            for member in entry["defences"]
        ]
    return entry


def described_model(config: Mapping[str, Any], model: str) -> dict[str, Any]:
    """A configured model's entry; a trained one's with its base's entry in place of the name."""
    entry = dict(config["models"][model])
    if "train" in entry:
        base = entry["base"]
        entry["base"] = {"kind": kind_of(base, config["models"][base]), **config["models"][base]}
    return entry


def parts(config: Mapping[str, Any], defence: str) -> list[str]:
    """The library's modules that a configured defence consists of."""
    names = dict.fromkeys([defence, *members(config, defence)])
    return [f"defences.{kind_of(name, config['defences'][name])}" for name in names]


def fit_defences(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries that ``experiments.fit_images`` adds to ``defences``: ``pca`` of fewer images.

    Raises:
        ConfigurationError: the configuration has an entry of such a name.
    """
    entry = config["defences"]["pca"]
    added = {
        f"pca_{images}": {"kind": kind_of("pca", entry), **entry, "images": images}
        for images in sorted(config["experiments"]["fit_images"] or [])
    }
    for name in sorted(added.keys() & config["defences"].keys()):
        raise ConfigurationError(
            f"experiments.fit_images: adds a defence {name}, but the configuration has one of that "
            "name. Rename that, or leave the number out."
        )
    return added


def parts_played(config: Mapping[str, Any]) -> dict[str, str]:
    """The configured defences by the part that they play in the paper's claims.

    That is their own name, but for downsampling, which goes by its ratio, and for the principal
    components of the fewest images. See `advrob.findings.claims`.
    """
    ratios = {0.5: "downsample", 0.75: "downsample_75"}
    defences = config["defences"]
    played = {name: name for name in defences if name not in ratios.values()}
    for name, entry in defences.items():
        if kind_of(name, entry) == "downsample" and entry["ratio"] in ratios:
            played.setdefault(ratios[entry["ratio"]], name)
    if sizes := config["experiments"]["fit_images"]:
        played["pca_fewest"] = f"pca_{min(sizes)}"
    return played


def check(config: Mapping[str, Any]) -> None:
    """Refuse names that do not exist and parameters that a defence does not have.

    Types, ranges and unknown keys are the schema's business; this looks across the parts.

    Raises:
        ConfigurationError: with the key, what was found, and the nearest valid name.
    """
    images = config["images"]
    if images["layout"] != "packages" and not (config["images_root"] or "archive" in images):
        raise ConfigurationError(
            f"images_root: is not set, but the layout is {images['layout']}. Expected where the "
            "photographs are. Set it on the command line with: --config images_root=/path"
        )
    kinds = sorted(path.stem for path in DEFENCES.glob("*.py") if path.stem != "__init__")
    for name, entry in config["defences"].items():
        kind = kind_of(name, entry)
        what = f"a kind of defence (there is no file advrob/defences/{kind}.py)"
        _known(f"defences.{name}", kind, kinds, what)
        declared = defence_kind(kind).parameters
        given = parameters_of(entry)
        for parameter in sorted(given):
            _known(f"defences.{name}", parameter, declared, f"a parameter of {kind}")
        if missing := sorted(
            key for key, required in declared.items() if required and key not in given
        ):
            raise ConfigurationError(
                f"defences.{name}: parameter {', '.join(missing)} is missing; {kind} needs it."
            )
    _chains(config["defences"])
    universal = config["perturbations"]["universal"]
    for method, keys in METHOD_KEYS.items():
        if universal["method"] != method and (foreign := sorted(keys & universal.keys())):
            raise ConfigurationError(
                f"perturbations.universal.{foreign[0]}: belongs to the method {method}, but the "
                f"method is {universal['method']}. Remove the key, or change the method."
            )
    for name, entry in config["perturbations"]["untargeted"].items():
        kind = kind_of(name, entry)
        key = f"perturbations.untargeted.{name}"
        _known(f"{key}.kind", kind, ATTACK_KEYS, "a kind of attack")
        if unlike := sorted(parameters_of(entry).keys() ^ ATTACK_KEYS[kind]):
            raise ConfigurationError(
                f"{key}: {unlike[0]} is {'extra' if unlike[0] in entry else 'missing'}. Expected "
                f"for {kind}: {', '.join(sorted(ATTACK_KEYS[kind]))}."
            )
    used = set(config["experiments"]["models"])
    for name, entry in config["models"].items():
        if "train" in entry or "base" in entry:
            _trained(name, config)
            used.add(entry["base"])
            continue
        kind = kind_of(name, entry)
        _known(f"models.{name}", kind, MODEL_KINDS, "a kind of model")
        if (kind == "import") != ("function" in entry):
            found = "missing" if kind == "import" else "extra"
            raise ConfigurationError(
                f"models.{name}.function: is {found}. Expected it where the kind is import, and "
                "nowhere else."
            )
        weights = entry.get("weights")
        if name in used and weights and not Path(weights).is_file():
            raise ConfigurationError(
                f"models.{name}.weights: found no file {weights}. Put the network's weights there, "
                "or name another file."
            )
    experiments = config["experiments"]
    models, defences = config["models"], config["defences"]
    for model in experiments["models"]:
        _known("experiments.models", model, models, "a model")
    pairs = [defence for pair in experiments["cross_tests"] for defence in pair]
    for key, names in (
        ("defences", experiments["defences"]),
        ("cross_tests", pairs),
        ("downsampling", experiments["downsampling"]),
        ("robustness.defences", experiments["robustness"]["defences"]),
    ):
        for defence in names:
            _known(f"experiments.{key}", defence, defences, "a defence")
    for family, names in (experiments.get("settings") or {}).get("candidates", {}).items():
        for defence in names:
            key = f"experiments.settings.candidates.{family}"
            _known(key, defence, defences, "a defence")
            if any(is_fitted(config, member) for member in members(config, defence)):
                raise ConfigurationError(
                    f"{key}: '{defence}' learns from the images to fit, so they cannot tell how "
                    "good it is. Remove it."
                )
    for key in ("radii", "efforts"):
        if (values := experiments["robustness"][key]) != sorted(values):
            raise ConfigurationError(
                f"experiments.robustness.{key}: found {values}, expected ascending numbers."
            )
    for defence in experiments["downsampling"]:
        if "ratio" not in defences[defence]:
            raise ConfigurationError(
                f"experiments.downsampling: '{defence}' has no ratio. Expected defences of the "
                "kind downsample."
            )
    if preventive := experiments.get("preventive"):
        taught = [name for name, entry in models.items() if "train" in entry]
        control, others = preventive["control"], preventive["models"]
        _known("experiments.preventive.control", control, taught, "a model that is trained")
        for model in others:
            _known("experiments.preventive.models", model, taught, "a model that is trained")
        for defence in preventive["defences"]:
            _known("experiments.preventive.defences", defence, defences, "a defence")
        bases = {models[name]["base"] for name in [control, *others]}
        if len(bases) > 1:
            raise ConfigurationError(
                f"experiments.preventive: its models begin with {', '.join(sorted(bases))}. "
                "Expected one base, so that they can be compared."
            )
    for model in experiments["models"]:
        _dataset(experiments["universal"].format(model=model), config)


def _chains(defences: Mapping[str, Mapping[str, Any]]) -> None:
    chains = {name for name, entry in defences.items() if kind_of(name, entry) == "chain"}
    for chain in sorted(chains):
        for member in defences[chain]["defences"]:
            what = "a defence that can be a member (chains cannot)"
            _known(f"defences.{chain}.defences", member, defences.keys() - chains, what)


def _trained(name: str, config: Mapping[str, Any]) -> None:
    models = config["models"]
    key, entry = f"models.{name}", models[name]
    if odd := sorted(entry.keys() ^ {"base", "train"}):
        raise ConfigurationError(
            f"{key}: {odd[0]} is {'extra' if odd[0] in entry else 'missing'}. A model that is "
            "trained has base, the name of another model, and train."
        )
    pretrained = [other for other in models if "train" not in models[other]]
    _known(f"{key}.base", entry["base"], pretrained, "a model that is not trained itself")
    train = entry["train"]
    allowed = LESSON_KEYS[train["method"]]
    foreign = set().union(*LESSON_KEYS.values()) - allowed
    if odd := sorted(train.keys() & foreign):
        raise ConfigurationError(
            f"{key}.train: {odd[0]} does not belong to {train['method']}. Expected of its own: "
            f"{', '.join(sorted(allowed)) or 'none'}."
        )
    if train["method"] == "multitask" and "tasks" not in train:
        raise ConfigurationError(
            f"{key}.train.tasks: is missing. Expected auxiliary tasks with their weights."
        )


def _dataset(name: str, config: Mapping[str, Any]) -> None:
    key = "experiments.universal"
    family, _, rest = name.partition("-")
    _known(key, family, ("universal", "published"), "a family of perturbed data sets")
    if family == "published":
        published = config["perturbations"]["published"]
        _known(key, rest, published, "a published perturbation")
        if not Path(file := published[rest]["file"]).is_file():
            raise ConfigurationError(
                f"perturbations.published.{rest}.file: found no file {file}. Put the perturbation "
                "there as its authors publish it, or name another file."
            )
    else:
        model, _, defence = rest.partition("-")
        _known(key, model, config["models"], "a model")
        _known(key, defence, config["defences"], "a defence")


def _known(key: str, found: str, expected: Iterable[str], what: str) -> None:
    expected = sorted(expected)
    if found not in expected:
        near = get_close_matches(found, expected, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        names = ", ".join(expected) or "none"
        raise ConfigurationError(f"{key}: '{found}' is not {what}. Expected one of: {names}.{hint}")


def imported_modules(script: str, *modules: str) -> list[Path]:
    """The files that a script consists of: itself and all that it imports from the library.

    Args:
        script: a script's stem.
        modules: further modules, dotted without ``advrob.``, for those imported by a configured
            name, such as ``defences.pca``.
    """
    files = {SCRIPTS / f"{script}.py"}
    files.update(SCRIPTS / "advrob" / f"{module.replace('.', '/')}.py" for module in modules)
    while (found := files.union(*(_imports(file) for file in files))) != files:
        files = found
    return sorted(files)


def code_version(script: str, *modules: str) -> str:
    """A hash of `imported_modules`.

    As a rule's parameter it reruns exactly the jobs whose result an edit can change.
    """
    digest = hashlib.sha256()
    for file in imported_modules(script, *modules):
        digest.update(file.relative_to(SCRIPTS).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _imports(file: Path) -> frozenset[Path]:
    modules: set[str] = set()
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
            modules.update(f"{node.module}.{alias.name}" for alias in node.names)
    paths = (
        SCRIPTS / module.replace(".", "/") for module in modules if module.startswith("advrob")
    )
    candidates = (c for path in paths for c in (path.with_suffix(".py"), path / "__init__.py"))
    return frozenset(candidate for candidate in candidates if candidate.is_file())


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))
