# Photographs to 8-bit tensors: the test images, and the images that defences and attacks learn from.

ARCHIVE = PLAN["images.archive"]


rule images:
    input:
        archive=branch(
            ARCHIVE and not PLAN["images_root"],
            then="resources/images.tgz",
            otherwise=[],
        ),
    output:
        test=sharded("results/images/test.h5"),
        fit=sharded("results/images/fit.h5"),
    log:
        part_of("logs/images.log"),
    benchmark:
        part_of("benchmarks/output/images.tsv")
    conda:
        "../../envs/images.yaml"
    threads: 4
    resources:
        **needed(JOBS.images),
    params:
        root=PLAN["images_root"],
        settings={
            key: value
            for key, value in PLAN["images"].items()
            if key not in ("archive", "unseen", "note")
        },
        seed=PLAN["seed"],
        code=PLAN.code("images"),
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
        url=PLAN["images.archive.url"],
        sha256=PLAN["images.archive.sha256"],
    script:
        "../scripts/download.py"
