# Randomised smoothing: what Gaussian noise before a model certifies, where it is configured.

if SMOOTHING := PLAN["experiments.smoothing"]:

    rule certify:
        input:
            images="results/datasets/{dataset}.h5",
            learned=learned,
            weights=weights,
        output:
            certified="results/certified/{dataset}/{model}.h5",
        log:
            "logs/certified/{dataset}/{model}.log",
        benchmark:
            "benchmarks/output/certified/{dataset}/{model}.tsv"
        conda:
            "../../envs/networks.yaml"
        threads: 8
        resources:
            **needed(JOBS.certify),
            gpu=GPUS,
        params:
            network=described,
            sigmas=SMOOTHING["sigmas"],
            draws=SMOOTHING["draws"],
            sample={"count": SMOOTHING["images"], "pattern": UNSEEN},
            batch_size=PLAN["batch_size"],
            device=PLAN["device"],
            seed=PLAN["seed"],
            code=code("certify"),
        script:
            "../scripts/certify.py"

    rule table_certified:
        input:
            files=[f"results/certified/original/{model}.h5" for model in MODELS],
        output:
            csv="results/tables/table_certified.csv",
            markdown=report(
                "results/tables/table_certified.md",
                caption="../report/table_certified.rst",
                category="5. Robustness",
                labels={"what": "Certified accuracy"},
            ),
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
