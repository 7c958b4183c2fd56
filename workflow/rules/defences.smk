# Defences that learn: principal components, autoencoders and denoisers, on images outside the test
# set; a denoiser also from a model's predictions for them, if its entry names one.


rule defence:
    input:
        images="results/images/fit.h5",
        learned=lambda wildcards: [
            file
            for model in PLAN.learned_from(wildcards.defence)
            for file in PLAN.learned_files(model)
        ],
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
        classifiers=lambda wildcards, input: [
            PLAN.describe(model, input.learned)
            for model in PLAN.learned_from(wildcards.defence)
        ],
        device=PLAN["device"],
        seed=PLAN["seed"],
        code=lambda wildcards: PLAN.fitting_code(wildcards.defence),
    script:
        "../scripts/defence.py"
