# Attacks: perturbations that fit every image, and perturbations made for one image each. Both see
# the network that their name says, which is a model behind a defence.


rule universal:
    input:
        images="results/images/fit.h5",
        held_out="results/images/test.h5",
        state=state,
        weights=weights,
    output:
        perturbation="results/perturbations/universal-{model}-{defence}.h5",
    log:
        "logs/perturbations/universal-{model}-{defence}.log",
    benchmark:
        "benchmarks/output/perturbations/universal-{model}-{defence}.tsv"
    conda:
        "../../envs/networks.yaml"
    threads: 8
    resources:
        **growing(universal_need),
        gpu=GPUS,
    params:
        model_settings=settings_of("model"),
        defence_settings=settings_of("defence"),
        settings=config["perturbations"]["universal"],
        batch_size=config["batch_size"],
        device=config["device"],
        seed=config["seed"],
        code=code("universal"),
    script:
        "../scripts/universal.py"


rule published:
    input:
        file=published_file,
    output:
        perturbation="results/perturbations/published-{published}.h5",
    log:
        "logs/perturbations/published-{published}.log",
    benchmark:
        "benchmarks/output/perturbations/published-{published}.tsv"
    localrule: True
    conda:
        "../../envs/images.yaml"
    params:
        settings=lookup(dpath="perturbations/published/{published}", within=config),
        size=config["images"]["size"],
        seed=config["seed"],
        code=code_version("published"),
    script:
        "../scripts/published.py"


rule original:
    input:
        "results/images/test.h5",
    output:
        "results/datasets/original.h5",
    log:
        "logs/datasets/original.log",
    benchmark:
        "benchmarks/output/datasets/original.tsv"
    localrule: True
    conda:
        "../../envs/images.yaml"
    shell:
        "cp {input} {output} 2> {log}"


rule perturbed:
    input:
        images="results/images/test.h5",
        perturbation="results/perturbations/{perturbation}.h5",
    output:
        dataset="results/datasets/{perturbation}.h5",
    log:
        "logs/datasets/{perturbation}.log",
    benchmark:
        "benchmarks/output/datasets/{perturbation}.tsv"
    conda:
        "../../envs/networks.yaml"
    params:
        seed=config["seed"],
        code=code_version("perturbed"),
    script:
        "../scripts/perturbed.py"


# A generator of perturbations, and the test images with one of its samples each.
rule gan:
    input:
        images="results/images/fit.h5",
        state=state,
        weights=weights,
    output:
        generator="results/generators/gan-{model}-{defence}.h5",
    log:
        "logs/generators/gan-{model}-{defence}.log",
    benchmark:
        "benchmarks/output/generators/gan-{model}-{defence}.tsv"
    conda:
        "../../envs/networks.yaml"
    threads: 8
    resources:
        **growing(gan_need),
        gpu=GPUS,
    params:
        model_settings=settings_of("model"),
        defence_settings=settings_of("defence"),
        settings=config["perturbations"]["gan"],
        batch_size=config["batch_size"],
        device=config["device"],
        seed=config["seed"],
        code=code("gan"),
    script:
        "../scripts/gan.py"


rule generated:
    input:
        images="results/images/test.h5",
        generator="results/generators/gan-{model}-{defence}.h5",
    output:
        dataset="results/datasets/gan-{model}-{defence}.h5",
    log:
        "logs/datasets/gan-{model}-{defence}.log",
    benchmark:
        "benchmarks/output/datasets/gan-{model}-{defence}.tsv"
    conda:
        "../../envs/networks.yaml"
    params:
        seed=config["seed"],
        code=code_version("generated"),
    script:
        "../scripts/generated.py"


rule gradient:
    input:
        images="results/images/test.h5",
        state=state,
        weights=weights,
    output:
        dataset=shard("results/datasets/gradient-{model}-{defence}.h5"),
    log:
        piece("logs/datasets/gradient-{model}-{defence}.log"),
    benchmark:
        piece("benchmarks/output/datasets/gradient-{model}-{defence}.tsv")
    conda:
        "../../envs/networks.yaml"
    threads: 8
    resources:
        **growing(gradient_need),
        gpu=GPUS,
    params:
        model_settings=settings_of("model"),
        defence_settings=settings_of("defence"),
        settings=config["perturbations"]["gradient"],
        batch_size=config["batch_size"],
        device=config["device"],
        seed=config["seed"],
        code=code("gradient"),
    script:
        "../scripts/gradient.py"
