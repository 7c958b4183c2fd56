# What several rules share: how a network is described to a job, and what a job does and may use.


# Parts of a network -----------------------------------------------------------------------------


def settings_of(part):
    """The configuration of the wildcard's model or defence, the smallest slice that a job needs."""

    def settings(wildcards):
        if part == "model":
            return config["models"][wildcards.model]
        return described(config, wildcards.defence)

    return settings


def states(defence):
    """The files of a defence's fitted parts, in order."""
    return [
        f"results/defences/shared/{member}.h5"
        for member in members(config, defence)
        if is_fitted(config, member)
    ]


def state(wildcards):
    """The files of the fitted parts of the wildcard's defence."""
    return states(wildcards.defence)


def weights(wildcards):
    """The file with a model's weights, where the configuration names one."""
    return config["models"][wildcards.model].get("weights", [])


def code(script, *modules):
    """The version of the code behind a job on the network of its wildcards."""

    def version(wildcards):
        defence = getattr(wildcards, "defence", "none")
        return code_version(script, *parts(config, defence), *modules)

    return version


# Shards -----------------------------------------------------------------------------------------

SHARDS = config["shards"]


def piece(path):
    """The name of what one job makes of ``path``: all of it, or a shard where there are several."""
    stem, dot, suffix = path.rpartition(".")
    return path if SHARDS == 1 else f"{stem}/{{scatteritem}}{dot}{suffix}"


def shard(path):
    """`piece` of an output. Shards are gathered into ``path`` and are not kept."""
    return path if SHARDS == 1 else temp(piece(path))


# Resources --------------------------------------------------------------------------------------

GPUS = 0 if config["device"] == "cpu" else 1


# Tables and figures -----------------------------------------------------------------------------

UNSEEN = config["images"].get("unseen")


def universal(model):
    """The data set that plays the paper's Universal for a model."""
    return EXPERIMENTS["universal"].format(model=model)


def scores(cells):
    """Score files of cells (data set, model, defence), each once."""
    unique = dict.fromkeys(cells)
    return [
        f"results/scores/{dataset}/{model}/{defence}.h5"
        for dataset, model, defence in unique
    ]


def figure_report(number, category):
    """The report's entry for a figure."""
    return report(
        f"results/figures/figure_{number}.png",
        caption=f"../report/figure_{number}.rst",
        category=category,
        labels={"what": f"Figure {number}"},
    )


def panels_of(defence):
    """Parameters of the figure that shows what a defence does to photographs."""
    return dict(
        photographs=4,
        model=MODELS[0],
        model_settings=config["models"][MODELS[0]],
        defence=defence,
        defence_settings=described(config, defence),
        device=config["device"],
        seed=config["seed"],
        code=code_version("figure_panels", *parts(config, defence)),
    )


# Robustness -------------------------------------------------------------------------------------

ROBUSTNESS = EXPERIMENTS["robustness"]
ROBUST_NETWORKS = [
    (model, defence) for model in MODELS for defence in ROBUSTNESS["defences"]
]
# What attacked images begin with -> how the attack is configured.
ATTACKS = {
    "universal": config["perturbations"]["universal"],
    "gradient": config["perturbations"]["gradient"],
    **config["perturbations"]["untargeted"],
}


def against(model, defence):
    """The data sets of all attacks on a network."""
    return [f"{attack}-{model}-{defence}" for attack in ATTACKS]


def static(model):
    """The data sets of all attacks on a model without a defence."""
    return against(model, "none")


def adaptive(wildcards):
    """The files of all attacks on the wildcards' network."""
    return [
        f"results/datasets/{dataset}.h5"
        for dataset in against(wildcards.model, wildcards.defence)
    ]
