# Data sets for other programs: pictures without loss, and tensors that PyTorch reads.

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
