# For other programs: data sets as pictures without loss and as tensors, and universal perturbations.

# Names of data sets, against networks that are configured.
AGAINST = f"({'|'.join(PLAN['models'])})-({'|'.join(PLAN['defences'])})"


rule export:
    input:
        images="results/datasets/{dataset}.h5",
        scores=lambda wildcards: experiments.export(PLAN, wildcards.dataset).path,
    output:
        folder=directory("results/export/{dataset}"),
    log:
        "logs/export/{dataset}.log",
    benchmark:
        "benchmarks/output/export/{dataset}.tsv"
    wildcard_constraints:
        dataset=f"original|tuning|(tuning-)?(published-[a-z0-9_]+|[a-z0-9_]+-{AGAINST})",
    conda:
        "../../envs/networks.yaml"
    resources:
        **needed(JOBS.export),
    params:
        code=PLAN.code("export"),
    script:
        "../scripts/export.py"


rule export_perturbation:
    input:
        perturbation="results/perturbations/universal-{model}-{defence}.h5",
        images="results/images/fit.h5",
        held_out="results/images/test.h5",
    output:
        folder=directory("results/export/perturbations/universal-{model}-{defence}"),
    log:
        "logs/export/perturbations/universal-{model}-{defence}.log",
    benchmark:
        "benchmarks/output/export/perturbations/universal-{model}-{defence}.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        code=PLAN.code("export_perturbation"),
    script:
        "../scripts/export_perturbation.py"
