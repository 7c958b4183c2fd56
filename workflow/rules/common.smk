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
