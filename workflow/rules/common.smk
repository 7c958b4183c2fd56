# What several rules share: how a network is described to a job, and what a job does and may use.


# Parts of a network -----------------------------------------------------------------------------


def settings_of(part):
    """The configuration of the wildcard's model or defence, the smallest slice that a job needs."""

    def settings(wildcards):
        if part == "model":
            return described_model(config, wildcards.model)
        return described(config, wildcards.defence)

    return settings


def states(defence):
    """The files of a defence's fitted parts, in order."""
    return [
        f"results/defences/shared/{member}.h5"
        for member in members(config, defence)
        if is_fitted(config, member)
    ]


def states_of(defences):
    """For each defence the files of its fitted parts, as they are called among the `states` of a rule.

    A workflow that imports this one as a module may put all inputs and outputs into a folder.
    """

    def files(wildcards, input):
        names = {Path(file).stem: file for file in input.states}
        return {
            defence: [names[Path(file).stem] for file in states(defence)]
            for defence in defences
        }

    return files


def trained(model):
    """The file with what a model learned, where it is trained here."""
    is_trained = "train" in config["models"][model]
    return [f"results/models/{model}.h5"] if is_trained else []


def trained_model(wildcards):
    """`trained` of the wildcard's model."""
    return trained(wildcards.model)


def state(wildcards):
    """What the wildcards' network learned: the fitted parts of its defence, then its model."""
    return states(wildcards.defence) + trained(wildcards.model)


def weights_of(model):
    """The file with a model's pretrained weights, where the configuration names one."""
    settings = described_model(config, model)
    file = settings.get("base", settings).get("weights")
    # Where the user says, also for a workflow that imports this one with a prefix.
    return local(file) if file else []


def weights(wildcards):
    """`weights_of` the wildcard's model."""
    return weights_of(wildcards.model)


def published_file(wildcards):
    """The file of a published perturbation, where the configuration says."""
    entries = config["perturbations"]["published"]
    return local(entries[wildcards.published]["file"])


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
#
# What is known of a job's size when it starts, its files above all, is what it asks for; see
# advrob/needs.py. A failed job asks for more in its next attempt.

GPUS = 0 if config["device"] == "cpu" else 1
NUMBERS = 3 * config["images"]["size"] ** 2
NETWORK = dict(batch_size=config["batch_size"], gpu=GPUS > 0)


def growing(need):
    """A rule's memory and run time: what it needs, times the number of the attempt."""
    return dict(
        mem_mb=lambda wildcards, input, attempt: attempt
        * need(wildcards, input).memory,
        runtime=lambda wildcards, input, attempt: attempt
        * need(wildcards, input).minutes,
    )


def megabytes(files):
    """The size of one input file, or of several together."""
    files = [files] if isinstance(files, str) else files
    return sum(Path(file).stat().st_size for file in files) / 1e6


def image_count(file, shards=1):
    """How many images of a file are a job's, nearly: it holds little else."""
    return megabytes(file) * 1e6 / NUMBERS / shards


def photographs_need(wildcards, input):
    return needs.photographs(config["images"], SHARDS)


def fitting_need(wildcards, input):
    entry = config["defences"][wildcards.defence]
    return needs.fitting(
        kind_of(wildcards.defence, entry),
        entry,
        images=image_count(input.images),
        numbers=NUMBERS,
        gpu=GPUS > 0,
    )


def universal_need(wildcards, input):
    return needs.universal(
        config["perturbations"]["universal"],
        images=image_count(input.images),
        held_out=image_count(input.held_out),
        numbers=NUMBERS,
        state=megabytes(input.state),
        **NETWORK,
    )


def train_need(wildcards, input):
    return needs.training(
        config["models"][wildcards.model]["train"],
        images=image_count(input.images),
        gpu=GPUS > 0,
    )


def gan_need(wildcards, input):
    settings = config["perturbations"]["gan"]
    return needs.training(
        {"method": "gan", **settings},
        images=image_count(input.images),
        state=megabytes(input.state),
        gpu=GPUS > 0,
    )


def gradient_need(wildcards, input):
    return needs.gradient(
        images=image_count(input.images, SHARDS),
        iterations=config["perturbations"]["gradient"]["iterations"],
        state=megabytes(input.state),
        **NETWORK,
    )


def score_need(wildcards, input):
    return needs.scoring(
        images=image_count(input.images, SHARDS),
        networks=EXPERIMENTS["draws"],
        state=megabytes(input.state),
        **NETWORK,
    )


def sweep_need(wildcards, input):
    return needs.scoring(
        images=image_count(input.images, SHARDS),
        networks=len(EXPERIMENTS["noise_magnitudes"]),
        state=0,
        **NETWORK,
    )


def attack_need(wildcards, input):
    attack = config["perturbations"]["untargeted"][wildcards.attack]
    return needs.gradient(
        images=ROBUSTNESS["images"] * ROBUSTNESS["draws"],
        iterations=attack.get("iterations", attack.get("queries")),
        state=megabytes(input.state),
        **NETWORK,
    )


def controls_need(wildcards, input):
    return needs.scoring(
        images=ROBUSTNESS["images"],
        networks=2 * len(ATTACKS),
        state=megabytes(input.state),
        **NETWORK,
    )


def budget_need(wildcards, input):
    return needs.gradient(
        images=ROBUSTNESS["images"] * ROBUSTNESS["draws"],
        iterations=len(ROBUSTNESS["radii"]) * ROBUSTNESS["iterations"]
        + sum(ROBUSTNESS["efforts"]),
        state=megabytes(input.state),
        **NETWORK,
    )


def vector_space_need(wildcards, input):
    # A gradient for each of DeepFool's steps and candidate classes.
    return needs.gradient(
        images=EXPERIMENTS["vector_space"]["normals"],
        iterations=500,
        state=2 * megabytes(input.states),
        **NETWORK,
    )


def certify_need(wildcards, input):
    draws = SMOOTHING["draws"] * len(SMOOTHING["sigmas"])
    return needs.scoring(
        images=SMOOTHING["images"] * draws, networks=1, state=0, **NETWORK
    )


def figure_7_need(wildcards, input):
    return needs.drawing(megabytes(input.states))


def panels_need(wildcards, input):
    return needs.drawing(megabytes(input.state))


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


# The principal components of the paper's defence, and of fewer images.
GROWN = [
    *(f"pca_{images}" for images in sorted(EXPERIMENTS["fit_images"] or [])),
    "pca",
]


def grown_scores():
    """Scores of `GROWN` on original and universally perturbed images."""
    return scores(
        (dataset, model, defence)
        for model in MODELS
        for dataset in ("original", universal(model))
        for defence in GROWN
    )


def figure_report(name, category, what=None):
    """The report's entry for a figure: one of the paper's by its number, another by its name."""
    # Two spaces are one to HTML, and the report then sorts Figure 4 before Figure 10.
    title = f"Figure {name:>2}" if isinstance(name, int) else None
    return report(
        f"results/figures/figure_{name}.png",
        caption=f"../report/figure_{name}.rst",
        category=category,
        labels={"what": ": ".join(filter(None, (title, what))) or f"Figure {name}"},
    )


def scores_behind(defence):
    """Scores of the model that figures show behind a defence, before and after the attack."""
    model = MODELS[0]
    return scores(
        (dataset, model, defence) for dataset in ("original", universal(model))
    )


def panels_of(defence):
    """Parameters of the figure that shows what a defence does to photographs."""
    return dict(
        photographs=3,
        model=MODELS[0],
        model_settings=described_model(config, MODELS[0]),
        defence=defence,
        defence_settings=described(config, defence),
        # A few photographs: not worth waiting for a GPU.
        device="cpu",
        seed=config["seed"],
        code=code_version("figure_panels", *parts(config, defence)),
    )


# Preventive models ------------------------------------------------------------------------------

PREVENTIVE = EXPERIMENTS["preventive"]
# The control first.
COMPARED = [PREVENTIVE["control"], *PREVENTIVE["models"]] if PREVENTIVE else []
# What all of them were before their training.
BASE = config["models"][COMPARED[0]]["base"] if COMPARED else None


def shown_to(model, defence):
    """The data sets that a trained model is compared on: static attacks, and its own."""
    static = [f"universal-{BASE}-none", f"gan-{BASE}-none"]
    own = [f"{attack}-{model}-{defence}" for attack in ("universal", "gradient")]
    return ["original", *static, *own]


# Robustness -------------------------------------------------------------------------------------

ROBUSTNESS = EXPERIMENTS["robustness"]
SMOOTHING = EXPERIMENTS["smoothing"]
ROBUST_NETWORKS = [
    (model, defence) for model in MODELS for defence in ROBUSTNESS["defences"]
]
# Family of settings -> the defences among which one is chosen.
CANDIDATES = (EXPERIMENTS["settings"] or {}).get("candidates", {})
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


# Report -----------------------------------------------------------------------------------------


def reported(*targets):
    """What collecting targets have for the report: files, and what their marks say of them."""
    wanted = set()
    for target in targets:
        for item in target.input:
            item = item({}) if callable(item) else item
            wanted.update([item] if isinstance(item, str) else item)
    found = [
        # The file itself, which knows whether it has got a module's prefix, and its path.
        (
            file,
            dict(
                file=str(file),
                name=" ".join(mark.labels["what"].split()),
                group=mark.category,
                text=workflow.sourcecache.open(mark.caption).read(),
                params=plain(each.params),
            ),
        )
        for each in workflow.rules
        if wanted.intersection(map(str, each.output))
        for file in each.output
        if (mark := getattr(file, "flags", {}).get("report"))
    ]
    return sorted(found, key=lambda pair: pair[1]["group"])


def plain(params):
    """Those of a rule's parameters that a caption can print."""
    kinds = (str, int, float, type(None))
    return {name: value for name, value in params.items() if isinstance(value, kinds)}


def jobs_files():
    """By rule, how its benchmark and log files are found, whatever their wildcards are."""
    return {
        each.name: {"benchmark": pattern(each.benchmark), "log": pattern(each.log[0])}
        for each in workflow.rules
        if each.benchmark and each.log
    }


def pattern(path):
    """A folder that holds all files of a pattern, and the regular expression of their paths."""
    folder = str(path).partition("{")[0].rpartition("/")[0]
    return {"folder": folder, "regex": regex_from_filepattern(str(path))}
