# One model behind noise of several magnitudes; `cells.smk` has the scores of single networks.


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
    threads: JOBS.threads(JOBS.sweep)
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
