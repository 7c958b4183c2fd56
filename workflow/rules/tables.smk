# The paper's tables, and what they leave out: scores joined.


rule table_1:
    input:
        scores=scores(
            (dataset, model, defence)
            for model in MODELS
            for dataset in ("original", universal(model))
            for defence in EXPERIMENTS["defences"]
        ),
    output:
        csv="results/tables/table_1.csv",
        markdown=report(
            "results/tables/table_1.md",
            caption="../report/table_1.rst",
            category="2. Universal perturbations",
            labels={"what": "Table 1: original and universally perturbed images"},
        ),
    log:
        "logs/tables/table_1.log",
    benchmark:
        "benchmarks/output/tables/table_1.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        pattern=None,
        note=lookup(dpath="images/note", within=config, default=None),
        code=code_version("table_1"),
    script:
        "../scripts/table_1.py"


rule table_2:
    input:
        scores=scores(
            (f"gradient-{model}-{against}", model, defence)
            for model in MODELS
            for pair in EXPERIMENTS["cross_tests"]
            for against, defence in (pair, pair[::-1])
        ),
    output:
        csv="results/tables/table_2.csv",
        markdown=report(
            "results/tables/table_2.md",
            caption="../report/table_2.rst",
            category="3. Gradient perturbations",
            labels={"what": "Table 2: cross-testing"},
        ),
    log:
        "logs/tables/table_2.log",
    benchmark:
        "benchmarks/output/tables/table_2.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        pairs=EXPERIMENTS["cross_tests"],
        pattern=None,
        note=lookup(dpath="images/note", within=config, default=None),
        code=code_version("table_2"),
    script:
        "../scripts/table_2.py"


rule table_3:
    input:
        scores=scores(
            (dataset, model, defence)
            for model in MODELS
            for defence in EXPERIMENTS["downsampling"]
            for dataset in ("original", universal(model))
        ),
    output:
        csv="results/tables/table_3.csv",
        markdown=report(
            "results/tables/table_3.md",
            caption="../report/table_3.rst",
            category="2. Universal perturbations",
            labels={"what": "Table 3: downsampling"},
        ),
    log:
        "logs/tables/table_3.log",
    benchmark:
        "benchmarks/output/tables/table_3.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        ratios={
            defence: config["defences"][defence]["ratio"]
            for defence in EXPERIMENTS["downsampling"]
        },
        pattern=None,
        note=lookup(dpath="images/note", within=config, default=None),
        code=code_version("table_3"),
    script:
        "../scripts/table_3.py"


rule table_comparisons:
    input:
        scores=scores(
            (dataset, model, defence)
            for model in MODELS
            for dataset in ("original", universal(model))
            for defence in ("none", *EXPERIMENTS["defences"])
        )
        + scores(
            (f"gradient-{model}-{against}", model, defence)
            for model in MODELS
            for pair in EXPERIMENTS["cross_tests"]
            for against, other in (pair, pair[::-1])
            for defence in ("none", other)
        ),
    output:
        csv="results/tables/table_comparisons.csv",
        markdown=report(
            "results/tables/table_comparisons.md",
            caption="../report/table_comparisons.rst",
            category="4. Replication",
            labels={"what": "Comparisons on the same photographs"},
        ),
    log:
        "logs/tables/table_comparisons.log",
    benchmark:
        "benchmarks/output/tables/table_comparisons.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        pairs=EXPERIMENTS["cross_tests"],
        pattern=None,
        note=lookup(dpath="images/note", within=config, default=None),
        code=code_version("table_comparisons"),
    script:
        "../scripts/table_comparisons.py"


rule replication:
    input:
        scores=list(
            dict.fromkeys(
                [
                    *rules.table_1.input.scores,
                    *rules.table_2.input.scores,
                    *rules.table_3.input.scores,
                    *(grown_scores() if EXPERIMENTS["fit_images"] else []),
                ]
            )
        ),
    output:
        csv="results/tables/replication.csv",
        markdown=report(
            "results/tables/replication.md",
            caption="../report/replication.rst",
            category="4. Replication",
            labels={"what": "Claims and numbers of the paper"},
        ),
    log:
        "logs/tables/replication.log",
    benchmark:
        "benchmarks/output/tables/replication.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        universal={model: universal(model) for model in MODELS},
        parts=parts_played(config),
        pattern=None,
        note=lookup(dpath="images/note", within=config, default=None),
        code=code_version("replication"),
    script:
        "../scripts/replication.py"


# The same tables from those images alone that pretrained networks have not seen.
use rule table_1 as table_1_unseen with:
    output:
        csv="results/tables/unseen/table_1.csv",
        markdown="results/tables/unseen/table_1.md",
    log:
        "logs/tables/unseen/table_1.log",
    benchmark:
        "benchmarks/output/tables/unseen/table_1.tsv"
    params:
        pattern=UNSEEN,
        note=None,


use rule table_2 as table_2_unseen with:
    output:
        csv="results/tables/unseen/table_2.csv",
        markdown="results/tables/unseen/table_2.md",
    log:
        "logs/tables/unseen/table_2.log",
    benchmark:
        "benchmarks/output/tables/unseen/table_2.tsv"
    params:
        pairs=EXPERIMENTS["cross_tests"],
        pattern=UNSEEN,
        note=None,


use rule table_3 as table_3_unseen with:
    output:
        csv="results/tables/unseen/table_3.csv",
        markdown="results/tables/unseen/table_3.md",
    log:
        "logs/tables/unseen/table_3.log",
    benchmark:
        "benchmarks/output/tables/unseen/table_3.tsv"
    params:
        ratios=rules.table_3.params.ratios,
        pattern=UNSEEN,
        note=None,


use rule table_comparisons as table_comparisons_unseen with:
    output:
        csv="results/tables/unseen/table_comparisons.csv",
        markdown="results/tables/unseen/table_comparisons.md",
    log:
        "logs/tables/unseen/table_comparisons.log",
    benchmark:
        "benchmarks/output/tables/unseen/table_comparisons.tsv"
    params:
        pairs=EXPERIMENTS["cross_tests"],
        pattern=UNSEEN,
        note=None,


use rule replication as replication_unseen with:
    output:
        csv="results/tables/unseen/replication.csv",
        markdown="results/tables/unseen/replication.md",
    log:
        "logs/tables/unseen/replication.log",
    benchmark:
        "benchmarks/output/tables/unseen/replication.tsv"
    params:
        universal=rules.replication.params.universal,
        parts=rules.replication.params.parts,
        pattern=UNSEEN,
        note=None,


# What is made of all images, and of the unseen ones.
TABLES = [
    *(f"table_{name}" for name in (1, 2, 3, "comparisons")),
    "replication",
]


rule tables:
    input:
        expand("results/tables/{table}.csv", table=TABLES),
        "results/tables/vector_space.csv",
        branch(SMOOTHING, then="results/tables/table_certified.csv", otherwise=[]),
        branch(PREVENTIVE, then="results/tables/table_preventive.csv", otherwise=[]),
        branch(
            UNSEEN,
            then=expand("results/tables/unseen/{table}.csv", table=TABLES),
            otherwise=[],
        ),
    localrule: True
