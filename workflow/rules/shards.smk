# With shards above 1, jobs whose images do not depend on each other are cut into as many: rules with
# an output in shard(...). This puts their results together again. The rows are those of a single job,
# bit for bit, for batches are cut at the same images and seed their own random numbers.

if SHARDS > 1:

    rule gather:
        input:
            shards=gather.shards("results/{{result}}/{scatteritem}.h5"),
        output:
            whole="results/{result}.h5",
        log:
            "logs/{result}.log",
        benchmark:
            "benchmarks/output/{result}.tsv"
        wildcard_constraints:
            result="images/(test|fit)|datasets/gradient-[^/]+|scores(/[^/]+){3}",
        conda:
            "../../envs/tables.yaml"
        resources:
            mem_mb=2000,
            runtime=60,
        params:
            code=code_version("gather"),
        script:
            "../scripts/gather.py"
