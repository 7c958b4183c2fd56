# The paper's figures. A figure of a single model shows the first that is configured.

SHOWN = MODELS[0]
ATTACKED = PLAN.universal(SHOWN)
BEHIND = [
    Network(SHOWN, defence)
    for defence in PLAN["experiments.defences"]
    if defence != "none"
]
# The multi-task networks that figures 3 and 7 draw: their trunk and their auxiliary tasks.
MULTITASK = "tf_efficientnet_lite0"
TASKS = [["coarse"], ["rotation"], ["coarse", "rotation", "reconstruction"]]


# Diagrams of the networks ----------------------------------------------------------------------


rule figure_1:
    output:
        pdf="results/figures/figure_1.pdf",
        png=figure_report(1, "1. Models", "the convolutional autoencoder"),
    log:
        "logs/figures/figure_1.log",
    benchmark:
        "benchmarks/output/figures/figure_1.tsv"
    localrule: True
    conda:
        "../../envs/networks.yaml"
    params:
        entry=PLAN["defences.conv_autoencoder"],
        size=PLAN["images.size"],
        code=PLAN.code("figure_1", modules=["defences.conv_autoencoder"]),
    script:
        "../scripts/figure_1.py"


rule figure_2:
    output:
        pdf="results/figures/figure_2.pdf",
        png=figure_report(2, "1. Models", "the generative adversarial network"),
    log:
        "logs/figures/figure_2.log",
    benchmark:
        "benchmarks/output/figures/figure_2.tsv"
    localrule: True
    conda:
        "../../envs/networks.yaml"
    params:
        size=PLAN["images.size"],
        code=PLAN.code("figure_2"),
    script:
        "../scripts/figure_2.py"


rule figure_3:
    output:
        pdf="results/figures/figure_3.pdf",
        png=figure_report(3, "1. Models", "multi-task networks"),
    log:
        "logs/figures/figure_3.log",
    benchmark:
        "benchmarks/output/figures/figure_3.tsv"
    localrule: True
    conda:
        "../../envs/networks.yaml"
    params:
        architecture=MULTITASK,
        examples=TASKS,
        size=PLAN["images.size"],
        code=PLAN.code("figure_3"),
    script:
        "../scripts/figure_3.py"


rule figure_7:
    input:
        learned=sorted(
            {file for network in BEHIND for file in PLAN.learned_files(network)}
        ),
    output:
        pdf="results/figures/figure_7.pdf",
        png=figure_report(7, "1. Models", "all models"),
    log:
        "logs/figures/figure_7.log",
    benchmark:
        "benchmarks/output/figures/figure_7.tsv"
    conda:
        "../../envs/networks.yaml"
    resources:
        **needed(JOBS.drawing),
    params:
        undefended=lambda wildcards, input: PLAN.describe(Network(SHOWN)),
        networks=lambda wildcards, input: {
            network.defence: PLAN.describe(network, input.learned)
            for network in BEHIND
        },
        architecture=MULTITASK,
        tasks=TASKS[-1],
        size=PLAN["images.size"],
        # Shapes only: not worth waiting for a GPU.
        device="cpu",
        seed=0,
        code=PLAN.code("figure_7", *BEHIND),
    script:
        "../scripts/figure_7.py"


# Photographs before and after attacks -----------------------------------------------------------


rule figure_4:
    input:
        perturbations=[
            f"results/perturbations/{PLAN.universal(model).name}.h5"
            for model in MODELS
        ],
    output:
        pdf="results/figures/figure_4.pdf",
        png=figure_report(4, "2. Universal perturbations", "the perturbations"),
    log:
        "logs/figures/figure_4.log",
    benchmark:
        "benchmarks/output/figures/figure_4.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        code=PLAN.code("figure_4"),
    script:
        "../scripts/figure_4.py"


rule figure_5:
    input:
        **before_and_after(ATTACKED, Network(SHOWN)),
    output:
        pdf="results/figures/figure_5.pdf",
        png=figure_report(
            5, "2. Universal perturbations", "photographs before and after"
        ),
    log:
        "logs/figures/figure_5.log",
    benchmark:
        "benchmarks/output/figures/figure_5.tsv"
    localrule: True
    conda:
        "../../envs/networks.yaml"
    params:
        photographs=3,
        code=PLAN.code("figure_attack"),
    script:
        "../scripts/figure_attack.py"


use rule figure_5 as figure_6 with:
    input:
        **before_and_after(DataSet(GRADIENT, Network(SHOWN)), Network(SHOWN)),
    output:
        pdf="results/figures/figure_6.pdf",
        png=figure_report(
            6, "3. Gradient perturbations", "photographs before and after"
        ),
    log:
        "logs/figures/figure_6.log",
    benchmark:
        "benchmarks/output/figures/figure_6.tsv"


# Three photographs: not worth waiting for a GPU.
PANELS = {"photographs": 3, "device": "cpu", "seed": PLAN["seed"]}


rule figure_8:
    input:
        **rules.figure_5.input,
        scores_defended=[
            Cell(images, Network(SHOWN, "noise")).path
            for images in (DataSet(), ATTACKED)
        ],
        learned=PLAN.learned_files(Network(SHOWN, "noise")),
    output:
        pdf="results/figures/figure_8.pdf",
        png=figure_report(8, "2. Universal perturbations", "noise"),
    log:
        "logs/figures/figure_8.log",
    benchmark:
        "benchmarks/output/figures/figure_8.tsv"
    conda:
        "../../envs/networks.yaml"
    resources:
        **needed(JOBS.drawing),
    params:
        **PANELS,
        network=lambda wildcards, input: PLAN.describe(
            Network(SHOWN, "noise"), input.learned
        ),
        code=PLAN.code("figure_panels", Network(SHOWN, "noise")),
    script:
        "../scripts/figure_panels.py"


use rule figure_8 as figure_9 with:
    input:
        **rules.figure_5.input,
        scores_defended=[
            Cell(images, Network(SHOWN, "pca")).path
            for images in (DataSet(), ATTACKED)
        ],
        learned=PLAN.learned_files(Network(SHOWN, "pca")),
    output:
        pdf="results/figures/figure_9.pdf",
        png=figure_report(9, "2. Universal perturbations", "PCA"),
    log:
        "logs/figures/figure_9.log",
    benchmark:
        "benchmarks/output/figures/figure_9.tsv"
    params:
        **PANELS,
        network=lambda wildcards, input: PLAN.describe(
            Network(SHOWN, "pca"), input.learned
        ),
        code=PLAN.code("figure_panels", Network(SHOWN, "pca")),


use rule figure_8 as figure_10 with:
    input:
        **rules.figure_5.input,
        scores_defended=[
            Cell(images, Network(SHOWN, "downsample")).path
            for images in (DataSet(), ATTACKED)
        ],
        learned=PLAN.learned_files(Network(SHOWN, "downsample")),
    output:
        pdf="results/figures/figure_10.pdf",
        png=figure_report(10, "2. Universal perturbations", "downsampling"),
    log:
        "logs/figures/figure_10.log",
    benchmark:
        "benchmarks/output/figures/figure_10.tsv"
    params:
        **PANELS,
        network=lambda wildcards, input: PLAN.describe(
            Network(SHOWN, "downsample"), input.learned
        ),
        code=PLAN.code("figure_panels", Network(SHOWN, "downsample")),


# Accuracy against the magnitude of noise --------------------------------------------------------


rule figure_11:
    input:
        sweeps=[f"results/scores/original/{model}/sweep-noise.h5" for model in MODELS],
        scores=scores(experiments.figure_sweep(PLAN, attacked=False)),
    output:
        csv="results/figures/figure_11.csv",
        pdf="results/figures/figure_11.pdf",
        png=figure_report(11, "2. Universal perturbations", "noise on original images"),
    log:
        "logs/figures/figure_11.log",
    benchmark:
        "benchmarks/output/figures/figure_11.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        pattern=None,
        function="sweep",
        code=PLAN.code("curves"),
    script:
        "../scripts/curves.py"


use rule figure_11 as figure_12 with:
    input:
        sweeps=[
            f"results/scores/{PLAN.universal(model).name}/{model}/sweep-noise.h5"
            for model in MODELS
        ],
        scores=scores(experiments.figure_sweep(PLAN, attacked=True)),
    output:
        csv="results/figures/figure_12.csv",
        pdf="results/figures/figure_12.pdf",
        png=figure_report(12, "2. Universal perturbations", "noise on attacked images"),
    log:
        "logs/figures/figure_12.log",
    benchmark:
        "benchmarks/output/figures/figure_12.tsv"


# Accuracy against the number of images to fit ---------------------------------------------------


rule figure_fit_images:
    input:
        states=[f"results/defences/shared/{defence}.h5" for defence in PLAN.grown],
        scores=scores(experiments.fit_images(PLAN)),
    output:
        csv="results/figures/figure_fit_images.csv",
        pdf="results/figures/figure_fit_images.pdf",
        png=figure_report(
            "fit_images", "2. Universal perturbations", "PCA of more images to fit"
        ),
    log:
        "logs/figures/figure_fit_images.log",
    benchmark:
        "benchmarks/output/figures/figure_fit_images.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        pattern=None,
        function="fit_images",
        code=PLAN.code("curves"),
    script:
        "../scripts/curves.py"


rule figures:
    input:
        expand("results/figures/figure_{number}.pdf", number=range(1, 13)),
        "results/figures/vector_space.pdf",
        branch(
            PLAN["experiments.fit_images"],
            then="results/figures/figure_fit_images.pdf",
            otherwise=[],
        ),
        branch(
            PLAN["experiments.smoothing"],
            then="results/figures/figure_certified.pdf",
            otherwise=[],
        ),
        branch(
            PLAN["experiments.transfer"],
            then="results/figures/figure_transfer.pdf",
            otherwise=[],
        ),
        branch(
            PLAN["experiments.preventive"],
            then=expand(
                "results/figures/{name}.pdf", name=("figure_gan", "figure_training")
            ),
            otherwise=[],
        ),
    localrule: True
