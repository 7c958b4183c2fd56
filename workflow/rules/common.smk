# What several rules share: the network of a job, what a job requests, and shards. The library's plan
# computes what follows from the configuration, and has tests of its own.

JOBS = Jobs(PLAN)
GPUS = int(JOBS.gpu)
SHARDS = PLAN["shards"]
UNSEEN = PLAN["images.unseen"]
NOTE = PLAN["images.note"]


# The network of a job ---------------------------------------------------------------------------


def network_of(wildcards):
    """The network that the wildcards name; a model alone where they name no defence."""
    return Network(wildcards.model, getattr(wildcards, "defence", "none"))


def learned(wildcards):
    """The files with what that network learned."""
    return PLAN.learned_files(network_of(wildcards))


def described(wildcards, input):
    """The description of that network, as a parameter."""
    return PLAN.describe(network_of(wildcards), input.learned)


def code(script, *modules):
    """The version of the code behind a job on the network of its wildcards."""
    return lambda wildcards: PLAN.code(script, network_of(wildcards), modules=modules)


# Resources and shards ---------------------------------------------------------------------------


def needed(need):
    """A rule's memory and run time: what its jobs need, times the number of the attempt."""
    return dict(
        mem_mb=lambda wildcards, input, attempt: attempt
        * need(wildcards, input).memory,
        runtime=lambda wildcards, input, attempt: attempt
        * need(wildcards, input).minutes,
    )


def part_of(path):
    """The name of one job's part of ``path``: all of it, or a shard where there are several."""
    stem, dot, suffix = path.rpartition(".")
    return path if SHARDS == 1 else f"{stem}/{{scatteritem}}{dot}{suffix}"


def sharded(path):
    """`part_of` an output. Shards are gathered into ``path`` and are not kept."""
    return path if SHARDS == 1 else temp(part_of(path))


def as_is(text):
    """A text of the user's as a parameter: braces in it are no wildcards."""
    return lambda wildcards: text


# Tables and figures -----------------------------------------------------------------------------


def scores(cells):
    """The score files of cells."""
    return [cell.path for cell in cells]


def before_and_after(dataset, network):
    """What a figure of photographs before and after an attack reads, as inputs."""
    return dict(
        original=dataset_file(DataSet()),
        attacked=dataset_file(dataset),
        scores_original=Cell(DataSet(), network).path,
        scores_attacked=Cell(dataset, network).path,
    )


def cells_of(cells):
    """Cells as a parameter: data set, model, defence and role of each."""
    return [
        (cell.dataset.name, cell.network.model, cell.network.defence, cell.role)
        for cell in cells
    ]


def table(function, cells=(), pattern=None, note=NOTE, **options):
    """The parameters of a table: a function of the library's findings, and what it is given."""
    return dict(
        function=function,
        cells=cells_of(cells),
        options=options,
        pattern=as_is(pattern),
        note=as_is(note),
        code=PLAN.code("table", modules=[f"findings.{function.rpartition('.')[0]}"]),
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
