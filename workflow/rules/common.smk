# What several rules share: how a network is described to a job, and what a job may use.


# Parts of a network -----------------------------------------------------------------------------


def settings_of(part):
    """The configuration of the wildcard's model or defence, the smallest slice that a job needs."""
    return lookup(dpath=f"{part}s/{{{part}}}", within=config)


def state(wildcards):
    """The file of a fitted defence; nothing for the others."""
    if is_fitted(config, wildcards.defence):
        return f"results/defences/shared/{wildcards.defence}.h5"
    return []


def weights(wildcards):
    """The file with a model's weights, where the configuration names one."""
    return config["models"][wildcards.model].get("weights", [])


def code(script, *modules):
    """The version of the code behind a job on the network of its wildcards."""

    def version(wildcards):
        defence = getattr(wildcards, "defence", "none")
        kind = kind_of(defence, config["defences"].get(defence, {}))
        return code_version(script, f"defences.{kind}", *modules)

    return version


# Resources --------------------------------------------------------------------------------------

GPUS = 0 if config["device"] == "cpu" else 1


# Tables and figures -----------------------------------------------------------------------------

UNSEEN = config["images"].get("unseen")


def universal(model):
    """The data set that plays the paper's Universal for a model."""
    return EXPERIMENTS["universal"].format(model=model)


def universally_attacked(wildcards):
    """The file of that data set for the wildcard's model."""
    return f"results/datasets/{universal(wildcards.model)}.h5"


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
        defence_settings=config["defences"][defence],
        device=config["device"],
        seed=config["seed"],
        code=code_version(
            "figure_panels", f"defences.{kind_of(defence, config['defences'][defence])}"
        ),
    )
