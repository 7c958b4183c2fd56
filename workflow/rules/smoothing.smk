# Randomised smoothing: what Gaussian noise before a network certifies, where it is configured.

if SMOOTHING := PLAN["experiments.smoothing"]:
    CERTIFIED = [certificate_file(network) for network in experiments.certified(PLAN)]

    rule certify:
        input:
            images="results/datasets/{dataset}.h5",
            learned=learned,
        output:
            certified="results/certified/{dataset}/{model}/{defence}.h5",
        log:
            "logs/certified/{dataset}/{model}/{defence}.log",
        benchmark:
            "benchmarks/output/certified/{dataset}/{model}/{defence}.tsv"
        conda:
            "../../envs/networks.yaml"
        threads: JOBS.threads(JOBS.certify)
        resources:
            **needed(JOBS.certify),
            gpu=GPUS,
        params:
            network=described,
            experiment=PLAN.protocol("smoothing"),
            sample=PLAN.sample(SMOOTHING["images"]),
            batch_size=PLAN["batch_size"],
            device=PLAN["device"],
            seed=PLAN["seed"],
            code=code("certify"),
        script:
            "../scripts/certify.py"

    # A model alone, under a shorter name.
    use rule certify as certify_model with:
        output:
            certified="results/certified/{dataset}/{model}.h5",
        log:
            "logs/certified/{dataset}/{model}.log",
        benchmark:
            "benchmarks/output/certified/{dataset}/{model}.tsv"

    rule table_certified:
        input:
            files=CERTIFIED,
        output:
            csv="results/tables/table_certified.csv",
            markdown=report(
                "results/tables/table_certified.md",
                caption="../report/table_certified.rst",
                category="5. Robustness",
                labels={"what": "Certified accuracy"},
            ),
            json="results/tables/table_certified.json",
        log:
            "logs/tables/table_certified.log",
        benchmark:
            "benchmarks/output/tables/table_certified.tsv"
        localrule: True
        conda:
            "../../envs/tables.yaml"
        params:
            **table("tables.table_certified", radii=SMOOTHING["radii"]),
        script:
            "../scripts/table.py"

    rule figure_certified:
        input:
            certified=CERTIFIED,
        output:
            csv="results/figures/figure_certified.csv",
            pdf="results/figures/figure_certified.pdf",
            png=figure_report(
                "certified", "5. Robustness", "Certified accuracy against radius"
            ),
        log:
            "logs/figures/figure_certified.log",
        benchmark:
            "benchmarks/output/figures/figure_certified.tsv"
        localrule: True
        conda:
            "../../envs/tables.yaml"
        params:
            function="certified",
            code=PLAN.code("curves"),
        script:
            "../scripts/curves.py"
