# The paper's figures. Where one shows a single model, it is the first that is configured.

SHOWN = MODELS[0]
ATTACKED = universal(SHOWN)
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
        settings=lookup(dpath="defences/conv_autoencoder", within=config),
        size=config["images"]["size"],
        code=code_version("figure_1", "defences.conv_autoencoder"),
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
        size=config["images"]["size"],
        code=code_version("figure_2"),
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
        size=config["images"]["size"],
        code=code_version("figure_3"),
    script:
        "../scripts/figure_3.py"


rule figure_7:
    input:
        states=sorted(
            {file for defence in EXPERIMENTS["defences"] for file in states(defence)}
        ),
        weights=weights_of(SHOWN),
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
        **growing(figure_7_need),
    params:
        model=SHOWN,
        model_settings=described_model(config, SHOWN),
        defences={
            defence: described(config, defence)
            for defence in EXPERIMENTS["defences"]
            if defence != "none"
        },
        fitted=states_of(EXPERIMENTS["defences"]),
        architecture=MULTITASK,
        tasks=TASKS[-1],
        size=config["images"]["size"],
        # Shapes only: not worth waiting for a GPU.
        device="cpu",
        code=code_version("figure_7"),
    script:
        "../scripts/figure_7.py"


# Photographs before and after attacks -----------------------------------------------------------


rule figure_4:
    input:
        perturbations=[
            f"results/perturbations/{universal(model)}.h5" for model in MODELS
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
        code=code_version("figure_4"),
    script:
        "../scripts/figure_4.py"


rule figure_5:
    input:
        original="results/datasets/original.h5",
        attacked=f"results/datasets/{ATTACKED}.h5",
        scores_original=f"results/scores/original/{SHOWN}/none.h5",
        scores_attacked=f"results/scores/{ATTACKED}/{SHOWN}/none.h5",
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
        code=code_version("figure_attack"),
    script:
        "../scripts/figure_attack.py"


use rule figure_5 as figure_6 with:
    input:
        original="results/datasets/original.h5",
        attacked=f"results/datasets/gradient-{SHOWN}-none.h5",
        scores_original=f"results/scores/original/{SHOWN}/none.h5",
        scores_attacked=f"results/scores/gradient-{SHOWN}-none/{SHOWN}/none.h5",
    output:
        pdf="results/figures/figure_6.pdf",
        png=figure_report(
            6, "3. Gradient perturbations", "photographs before and after"
        ),
    log:
        "logs/figures/figure_6.log",
    benchmark:
        "benchmarks/output/figures/figure_6.tsv"


rule figure_8:
    input:
        **rules.figure_5.input,
        scores_defended=scores_behind("noise"),
        state=states("noise") + trained(SHOWN),
        weights=weights_of(SHOWN),
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
        **growing(panels_need),
    params:
        **panels_of("noise"),
    script:
        "../scripts/figure_panels.py"


use rule figure_8 as figure_9 with:
    input:
        **rules.figure_5.input,
        scores_defended=scores_behind("pca"),
        state=states("pca") + trained(SHOWN),
        weights=weights_of(SHOWN),
    output:
        pdf="results/figures/figure_9.pdf",
        png=figure_report(9, "2. Universal perturbations", "PCA"),
    log:
        "logs/figures/figure_9.log",
    benchmark:
        "benchmarks/output/figures/figure_9.tsv"
    params:
        **panels_of("pca"),


use rule figure_8 as figure_10 with:
    input:
        **rules.figure_5.input,
        scores_defended=scores_behind("downsample"),
        state=states("downsample") + trained(SHOWN),
        weights=weights_of(SHOWN),
    output:
        pdf="results/figures/figure_10.pdf",
        png=figure_report(10, "2. Universal perturbations", "downsampling"),
    log:
        "logs/figures/figure_10.log",
    benchmark:
        "benchmarks/output/figures/figure_10.tsv"
    params:
        **panels_of("downsample"),


# Accuracy against the magnitude of noise --------------------------------------------------------


rule figure_11:
    input:
        sweeps=[f"results/scores/original/{model}/sweep-noise.h5" for model in MODELS],
        scores=[f"results/scores/original/{model}/none.h5" for model in MODELS],
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
        code=code_version("figure_sweep"),
    script:
        "../scripts/figure_sweep.py"


use rule figure_11 as figure_12 with:
    input:
        sweeps=[
            f"results/scores/{universal(model)}/{model}/sweep-noise.h5"
            for model in MODELS
        ],
        scores=[
            f"results/scores/{universal(model)}/{model}/none.h5" for model in MODELS
        ],
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
        states=[f"results/defences/shared/{defence}.h5" for defence in GROWN],
        scores=grown_scores(),
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
        code=code_version("figure_fit_images"),
    script:
        "../scripts/figure_fit_images.py"


rule figures:
    input:
        expand("results/figures/figure_{number}.pdf", number=range(1, 13)),
        "results/figures/vector_space.pdf",
        branch(
            EXPERIMENTS["fit_images"],
            then="results/figures/figure_fit_images.pdf",
            otherwise=[],
        ),
        branch(
            PREVENTIVE,
            then=expand(
                "results/figures/{name}.pdf", name=("figure_gan", "figure_training")
            ),
            otherwise=[],
        ),
    localrule: True
