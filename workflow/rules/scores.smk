# The cells of the matrix: one network on one data set.


rule score:
    input:
        images="results/datasets/{dataset}.h5",
        state=state,
        weights=weights,
    output:
        scores=shard("results/scores/{dataset}/{model}/{defence}.h5"),
    log:
        piece("logs/scores/{dataset}/{model}/{defence}.log"),
    benchmark:
        piece("benchmarks/output/scores/{dataset}/{model}/{defence}.tsv")
    conda:
        "../../envs/networks.yaml"
    threads: 2
    resources:
        **growing(score_need),
        gpu=GPUS,
    params:
        model_settings=settings_of("model"),
        defence_settings=settings_of("defence"),
        draws=EXPERIMENTS["draws"],
        batch_size=config["batch_size"],
        device=config["device"],
        seed=config["seed"],
        code=code("score"),
    script:
        "../scripts/score.py"


rule sweep:
    input:
        images="results/datasets/{dataset}.h5",
        trained=trained_model,
        weights=weights,
    output:
        sweep=shard("results/scores/{dataset}/{model}/sweep-noise.h5"),
    log:
        piece("logs/scores/{dataset}/{model}/sweep-noise.log"),
    benchmark:
        piece("benchmarks/output/scores/{dataset}/{model}/sweep-noise.tsv")
    conda:
        "../../envs/networks.yaml"
    threads: 2
    resources:
        **growing(sweep_need),
        gpu=GPUS,
    params:
        model_settings=settings_of("model"),
        magnitudes=EXPERIMENTS["noise_magnitudes"],
        batch_size=config["batch_size"],
        device=config["device"],
        seed=config["seed"],
        code=code_version("sweep", "defences.noise"),
    script:
        "../scripts/sweep.py"
