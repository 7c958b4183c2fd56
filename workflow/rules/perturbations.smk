# Attacks: perturbations that fit every image, and perturbations made for one image each. Both see
# the network that their name says, which is a model behind a defence.


rule universal:
    input:
        images="results/images/fit.h5",
        held_out="results/images/test.h5",
        learned=learned,
    output:
        perturbation="results/perturbations/universal-{model}-{defence}.h5",
    log:
        "logs/perturbations/universal-{model}-{defence}.log",
    benchmark:
        "benchmarks/output/perturbations/universal-{model}-{defence}.tsv"
    conda:
        "../../envs/networks.yaml"
    threads: JOBS.threads(JOBS.universal)
    resources:
        **needed(JOBS.universal),
        gpu=GPUS,
    params:
        network=described,
        entry=PLAN["perturbations.universal"],
        batch_size=PLAN["batch_size"],
        device=PLAN["device"],
        seed=PLAN["seed"],
        code=code("universal", PLAN.universal_kind.module),
    script:
        "../scripts/universal.py"


rule published:
    output:
        perturbation="results/perturbations/published-{published}.h5",
    log:
        "logs/perturbations/published-{published}.log",
    benchmark:
        "benchmarks/output/perturbations/published-{published}.tsv"
    localrule: True
    conda:
        "../../envs/images.yaml"
    resources:
        # No parameter: another spelling of the same path reruns nothing.
        file=lambda wildcards: PLAN["perturbations.published"][wildcards.published][
            "file"
        ],
    params:
        entry=lambda wildcards: by_content(
            PLAN["perturbations.published"][wildcards.published]
        ),
        size=PLAN["images.size"],
        seed=PLAN["seed"],
        code=PLAN.code("published"),
    script:
        "../scripts/published.py"


rule original:
    input:
        images="results/images/test.h5",
    output:
        dataset="results/datasets/original.h5",
    log:
        "logs/datasets/original.log",
    benchmark:
        "benchmarks/output/datasets/original.tsv"
    localrule: True
    conda:
        "../../envs/images.yaml"
    params:
        code=PLAN.code("original"),
    script:
        "../scripts/original.py"


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
        seed=PLAN["seed"],
        code=PLAN.code("perturbed"),
    script:
        "../scripts/perturbed.py"


# A generator of perturbations, and the test images with one of its samples each.
rule gan:
    input:
        images="results/images/fit.h5",
        learned=learned,
    output:
        generator="results/generators/gan-{model}-{defence}.h5",
    log:
        "logs/generators/gan-{model}-{defence}.log",
    benchmark:
        "benchmarks/output/generators/gan-{model}-{defence}.tsv"
    conda:
        "../../envs/networks.yaml"
    threads: JOBS.threads(JOBS.gan)
    resources:
        **needed(JOBS.gan),
        gpu=GPUS,
    params:
        network=described,
        entry=PLAN["perturbations.gan"],
        batch_size=PLAN["batch_size"],
        device=PLAN["device"],
        seed=PLAN["seed"],
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
        seed=PLAN["seed"],
        code=PLAN.code("generated"),
    script:
        "../scripts/generated.py"


rule gradient:
    input:
        images="results/images/test.h5",
        learned=learned,
    output:
        dataset=sharded("results/datasets/gradient-{model}-{defence}.h5"),
    log:
        part_of("logs/datasets/gradient-{model}-{defence}.log"),
    benchmark:
        part_of("benchmarks/output/datasets/gradient-{model}-{defence}.tsv")
    conda:
        "../../envs/networks.yaml"
    threads: JOBS.threads(JOBS.gradient)
    resources:
        **needed(JOBS.gradient),
        gpu=GPUS,
    params:
        network=described,
        entry=PLAN["perturbations.gradient"],
        batch_size=PLAN["batch_size"],
        device=PLAN["device"],
        seed=PLAN["seed"],
        code=code("gradient"),
    script:
        "../scripts/gradient.py"
