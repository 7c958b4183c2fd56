# Photographs to 8-bit tensors: the test images, and the images that defences and attacks learn from.

ARCHIVE = config["images"].get("archive")


rule images:
    input:
        archive=branch(
            ARCHIVE and not config["images_root"],
            then="resources/images.tgz",
            otherwise=[],
        ),
    output:
        test=shard("results/images/test.h5"),
        fit=shard("results/images/fit.h5"),
    log:
        piece("logs/images.log"),
    benchmark:
        piece("benchmarks/output/images.tsv")
    conda:
        "../../envs/images.yaml"
    threads: 4
    resources:
        **growing(photographs_need),
    params:
        root=lookup(dpath="images_root", within=config),
        settings={
            key: value
            for key, value in config["images"].items()
            if key not in ("archive", "unseen", "note")
        },
        seed=config["seed"],
        code=code_version("images"),
    script:
        "../scripts/images.py"


rule download:
    output:
        file="resources/images.tgz",
    log:
        "logs/download.log",
    benchmark:
        "benchmarks/output/download.tsv"
    localrule: True
    conda:
        "../../envs/images.yaml"
    params:
        url=lookup(dpath="images/archive/url", within=config, default=None),
        sha256=lookup(dpath="images/archive/sha256", within=config, default=None),
    script:
        "../scripts/download.py"
