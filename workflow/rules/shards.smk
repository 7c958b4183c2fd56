# With shards above 1, jobs whose images do not depend on each other are cut into as many: the rules
# whose output is a shard(...). These put the results together again. The rows are those of a single
# job, bit for bit, for batches begin at the same images and seed their own random numbers.

if SHARDS > 1:

    rule gather:
        input:
            shards=gather.shards("results/{{result}}/{scatteritem}.h5"),
        output:
            wholes=["results/{result}.h5"],
        log:
            "logs/{result}.log",
        benchmark:
            "benchmarks/output/{result}.tsv"
        wildcard_constraints:
            result="datasets/gradient-[^/]+|scores(/[^/]+){3}",
        conda:
            "../../envs/tables.yaml"
        resources:
            mem_mb=2000,
            runtime=60,
        params:
            code=PLAN.code("gather"),
        script:
            "../scripts/gather.py"

    # Both at once, since one job draws both: to make one later would also make the other again.
    use rule gather as gather_images with:
        input:
            shards=gather.shards("results/images/test/{scatteritem}.h5")
            + gather.shards("results/images/fit/{scatteritem}.h5"),
        output:
            wholes=["results/images/test.h5", "results/images/fit.h5"],
        log:
            "logs/images.log",
        benchmark:
            "benchmarks/output/images.tsv"
