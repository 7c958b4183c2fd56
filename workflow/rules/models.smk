# Preventive models: networks that are trained to be robust, and their control. They stand in the matrix
# like any other model.


rule train:
    input:
        images="results/images/fit.h5",
    output:
        state="results/models/{model}.h5",
    log:
        "logs/models/{model}.log",
    benchmark:
        "benchmarks/output/models/{model}.tsv"
    conda:
        "../../envs/networks.yaml"
    threads: JOBS.threads(JOBS.train)
    resources:
        **needed(JOBS.train),
        gpu=GPUS,
    params:
        # Compared in the code's version, by what is in its file of weights.
        model_settings=lambda wildcards, input: PLAN.model_settings(wildcards.model),
        batch_size=PLAN["batch_size"],
        device=PLAN["device"],
        seed=PLAN["seed"],
        code=lambda wildcards: PLAN.code(
            "train",
            network_of(wildcards),
            modules=[PLAN.lesson_kind(wildcards.model).module],
        ),
    script:
        "../scripts/train.py"


# The generator's images against the first model.
GENERATED = DataSet(GAN, Network(MODELS[0]))


rule figure_gan:
    input:
        **before_and_after(GENERATED, GENERATED.target),
        generator=f"results/generators/{GENERATED}.h5",
    output:
        pdf="results/figures/figure_gan.pdf",
        png=report(
            "results/figures/figure_gan.png",
            caption="../report/figure_gan.rst",
            category="7. Preventive models",
            labels={"what": "Generator"},
        ),
    log:
        "logs/figures/figure_gan.log",
    benchmark:
        "benchmarks/output/figures/figure_gan.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        photographs=4,
        code=PLAN.code("figure_gan"),
    script:
        "../scripts/figure_gan.py"


if PREVENTIVE := PLAN["experiments.preventive"]:

    rule figure_training:
        input:
            states=[
                f"results/models/{model}.h5"
                for model in experiments.compared_models(PLAN)
            ],
        output:
            csv="results/figures/figure_training.csv",
            pdf="results/figures/figure_training.pdf",
            png=report(
                "results/figures/figure_training.png",
                caption="../report/figure_training.rst",
                category="7. Preventive models",
                labels={"what": "Training"},
            ),
        log:
            "logs/figures/figure_training.log",
        benchmark:
            "benchmarks/output/figures/figure_training.tsv"
        localrule: True
        conda:
            "../../envs/tables.yaml"
        params:
            function="training",
            code=PLAN.code("curves"),
        script:
            "../scripts/curves.py"

    rule table_preventive:
        input:
            scores=scores(experiments.preventive(PLAN)),
        output:
            csv="results/tables/table_preventive.csv",
            markdown=report(
                "results/tables/table_preventive.md",
                caption="../report/table_preventive.rst",
                category="7. Preventive models",
                labels={"what": "Table"},
            ),
            json="results/tables/table_preventive.json",
        log:
            "logs/tables/table_preventive.log",
        benchmark:
            "benchmarks/output/tables/table_preventive.tsv"
        localrule: True
        conda:
            "../../envs/tables.yaml"
        params:
            **table(
                "preventive.table_preventive",
                experiments.preventive(PLAN),
                control=PREVENTIVE["control"],
            ),
            control=PREVENTIVE["control"],
            base=experiments.preventive_base(PLAN),
        script:
            "../scripts/table.py"
