# How attacked images lie in image space: the analysis that the paper's abstract promises.

# The defences of table 1, and the principal components that images are measured along.
ANALYSED = {
    defence: described(config, defence)
    for defence in dict.fromkeys([*EXPERIMENTS["defences"], "pca"])
}


rule vector_space:
    input:
        original="results/datasets/original.h5",
        universal=universally_attacked,
        gradient="results/datasets/gradient-{model}-none.h5",
        states=list(dict.fromkeys(file for name in ANALYSED for file in states(name))),
        trained=trained_model,
        weights=weights,
    output:
        space="results/analysis/vector_space/{model}.h5",
    log:
        "logs/analysis/vector_space/{model}.log",
    benchmark:
        "benchmarks/output/analysis/vector_space/{model}.tsv"
    conda:
        "../../envs/networks.yaml"
    threads: 8
    resources:
        **growing(vector_space_need),
        gpu=GPUS,
    params:
        model_settings=settings_of("model"),
        defences=ANALYSED,
        parts=states_of(ANALYSED),
        settings=EXPERIMENTS["vector_space"],
        batch_size=config["batch_size"],
        device=config["device"],
        seed=config["seed"],
        code=code_version(
            "vector_space",
            *(module for name in ANALYSED for module in parts(config, name)),
        ),
    script:
        "../scripts/vector_space.py"


rule table_vector_space:
    input:
        spaces=expand("results/analysis/vector_space/{model}.h5", model=MODELS),
    output:
        csv="results/tables/vector_space.csv",
        markdown=report(
            "results/tables/vector_space.md",
            caption="../report/table_vector_space.rst",
            category="6. Image space",
            labels={"what": "Table of image space"},
        ),
    log:
        "logs/tables/vector_space.log",
    benchmark:
        "benchmarks/output/tables/vector_space.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        note=lookup(dpath="images/note", within=config, default=None),
        code=code_version("table_vector_space"),
    script:
        "../scripts/table_vector_space.py"


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
        code=code_version("figure_vector_space"),
    script:
        "../scripts/figure_vector_space.py"
