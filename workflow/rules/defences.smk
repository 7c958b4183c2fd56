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
    threads: JOBS.threads(JOBS.defence)
    resources:
        **needed(JOBS.defence),
        gpu=GPUS,
    params:
        entry=lambda wildcards: PLAN.defence_settings(wildcards.defence),
        device=PLAN["device"],
        seed=PLAN["seed"],
        code=lambda wildcards: PLAN.code(
            "defence", modules=[PLAN.defence_kind(wildcards.defence).module]
        ),
    script:
        "../scripts/defence.py"
