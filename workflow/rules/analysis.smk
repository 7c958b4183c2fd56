# How attacked images lie in image space: the analysis that the paper's abstract promises.

# The defences of table 1, and the principal components that images are measured along.
ANALYSED = list(dict.fromkeys([*PLAN["experiments.defences"], "pca"]))


rule vector_space:
    input:
        original="results/datasets/original.h5",
        universal=lambda wildcards: dataset_file(PLAN.universal(wildcards.model)),
        gradient="results/datasets/gradient-{model}-none.h5",
        learned=lambda wildcards: sorted(
            {
                file
                for defence in ANALYSED
                for file in PLAN.learned_files(Network(wildcards.model, defence))
            }
        ),
    output:
        space="results/analysis/vector_space/{model}.h5",
    log:
        "logs/analysis/vector_space/{model}.log",
    benchmark:
        "benchmarks/output/analysis/vector_space/{model}.tsv"
    conda:
        "../../envs/networks.yaml"
    threads: JOBS.threads(JOBS.vector_space)
    resources:
        **needed(JOBS.vector_space),
        gpu=GPUS,
    params:
        networks=lambda wildcards, input: {
            defence: PLAN.describe(Network(wildcards.model, defence), input.learned)
            for defence in ANALYSED
        },
        experiment=PLAN["experiments.vector_space"],
        batch_size=PLAN["batch_size"],
        device=PLAN["device"],
        seed=PLAN["seed"],
        code=lambda wildcards: PLAN.code(
            "vector_space",
            *(Network(wildcards.model, defence) for defence in ANALYSED),
        ),
    script:
        "../scripts/vector_space.py"


rule table_vector_space:
    input:
        files=expand("results/analysis/vector_space/{model}.h5", model=MODELS),
    output:
        csv="results/tables/vector_space.csv",
        markdown=report(
            "results/tables/vector_space.md",
            caption="../report/table_vector_space.rst",
            category="6. Image space",
            labels={"what": "Table of image space"},
        ),
        json="results/tables/vector_space.json",
    log:
        "logs/tables/vector_space.log",
    benchmark:
        "benchmarks/output/tables/vector_space.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        **table("image_space.table_vector_space"),
    script:
        "../scripts/table.py"


rule figure_vector_space:
    input:
        space=f"results/analysis/vector_space/{MODELS[0]}.h5",
    output:
        csv="results/figures/vector_space.csv",
        pdf="results/figures/vector_space.pdf",
        png=report(
            "results/figures/vector_space.png",
            caption="../report/figure_vector_space.rst",
            category="6. Image space",
            labels={"what": "Figure of image space"},
        ),
    log:
        "logs/figures/vector_space.log",
    benchmark:
        "benchmarks/output/figures/vector_space.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        code=PLAN.code("figure_vector_space"),
    script:
        "../scripts/figure_vector_space.py"
