# Defences that learn: principal components and autoencoders, on images outside the test set.


rule defence:
    input:
        images="results/images/fit.h5",
    output:
        state="results/defences/shared/{defence}.h5",
    log:
        "logs/defences/{defence}.log",
    benchmark:
        "benchmarks/output/defences/{defence}.tsv"
    conda:
        "../../envs/networks.yaml"
    threads: 8
    resources:
        **growing(fitting_need),
        gpu=GPUS,
    params:
        settings=settings_of("defence"),
        device=config["device"],
        seed=config["seed"],
        code=code("defence"),
    script:
        "../scripts/defence.py"
