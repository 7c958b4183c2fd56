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
    threads: JOBS.threads(JOBS.images)
    resources:
        **needed(JOBS.images),
        # No parameter: another spelling of the same folder reruns nothing.
        root=PLAN["images_root"] or "",
    params:
        image_options={
            key: value
            for key, value in PLAN["images"].items()
            if key not in ("archive", "unseen", "note")
        },
        # What is in the files: where they are does not matter. The archive has its checksum, and
        # Snakemake compares no parameter that depends on input.
        photographs=lambda wildcards: fingerprint(
            PLAN["images_root"],
            PLAN["images"],
            cache=".snakemake/photographs.json",
        ),
        sha256=PLAN["images.archive.sha256"],
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
        url=as_is(PLAN["images.archive.url"]),
        sha256=PLAN["images.archive.sha256"],
    script:
        "../scripts/download.py"
