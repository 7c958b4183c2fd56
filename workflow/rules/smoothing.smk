# Randomised smoothing: what Gaussian noise before a model certifies, where it is configured.

if SMOOTHING:

    rule certify:
        input:
            images="results/datasets/{dataset}.h5",
            trained=trained_model,
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
            **growing(certify_need),
            gpu=GPUS,
        params:
            model_settings=settings_of("model"),
            sigmas=SMOOTHING["sigmas"],
            draws=SMOOTHING["draws"],
            limit=SMOOTHING["images"],
            pattern=UNSEEN,
            batch_size=config["batch_size"],
            device=config["device"],
            seed=config["seed"],
            code=code_version("certify"),
        script:
            "../scripts/certify.py"

    rule table_certified:
        input:
            certified=[f"results/certified/original/{model}.h5" for model in MODELS],
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
            radii=SMOOTHING["radii"],
            note=lookup(dpath="images/note", within=config, default=None),
            code=code_version("table_certified"),
        script:
            "../scripts/table_certified.py"
