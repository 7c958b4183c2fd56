# The cells of the matrix: one network on one data set.


rule score:
    input:
        images="results/datasets/{dataset}.h5",
        learned=learned,
    output:
        scores=sharded("results/scores/{dataset}/{model}/{defence}.h5"),
    log:
        part_of("logs/scores/{dataset}/{model}/{defence}.log"),
    benchmark:
        part_of("benchmarks/output/scores/{dataset}/{model}/{defence}.tsv")
    conda:
        "../../envs/networks.yaml"
    threads: 2
    resources:
        **needed(JOBS.score),
        gpu=GPUS,
    params:
        network=described,
        draws=PLAN["experiments.draws"],
        batch_size=PLAN["batch_size"],
        device=PLAN["device"],
        seed=PLAN["seed"],
        code=code("score"),
    script:
        "../scripts/score.py"


rule sweep:
    input:
        images="results/datasets/{dataset}.h5",
        learned=learned,
    output:
        sweep=sharded("results/scores/{dataset}/{model}/sweep-noise.h5"),
    log:
        part_of("logs/scores/{dataset}/{model}/sweep-noise.log"),
    benchmark:
        part_of("benchmarks/output/scores/{dataset}/{model}/sweep-noise.tsv")
    conda:
        "../../envs/networks.yaml"
    threads: 2
    resources:
        **needed(JOBS.sweep),
        gpu=GPUS,
    params:
        network=described,
        magnitudes=PLAN["experiments.noise_magnitudes"],
        batch_size=PLAN["batch_size"],
        device=PLAN["device"],
        seed=PLAN["seed"],
        code=code("sweep", "defences.noise"),
    script:
        "../scripts/sweep.py"
