# What to do before you trust robustness: check up networks, and measure the attacks on networks whose
# robustness is known exactly.


rule checkup:
    input:
        images="results/images/test.h5",
        learned=learned,
    output:
        findings="results/checkups/{model}/{defence}.json",
    log:
        "logs/checkups/{model}/{defence}.log",
    benchmark:
        "benchmarks/output/checkups/{model}/{defence}.tsv"
    conda:
        "../../envs/networks.yaml"
    resources:
        **needed(JOBS.checkup),
        gpu=GPUS,
    params:
        network=described,
        sample=PLAN.sample(CHECKUP_IMAGES),
        batch_size=PLAN["batch_size"],
        device=PLAN["device"],
        seed=PLAN["seed"],
        code=code("checkup"),
    script:
        "../scripts/checkup.py"


rule calibration:
    input:
        images="results/images/test.h5",
    output:
        records="results/calibration.json",
    log:
        "logs/calibration.log",
    benchmark:
        "benchmarks/output/calibration.tsv"
    conda:
        "../../envs/networks.yaml"
    resources:
        **needed(JOBS.calibration),
        gpu=GPUS,
    params:
        attacks=PLAN.calibrated,
        experiment=PLAN["experiments.calibration"],
        sample={"count": PLAN["experiments.calibration.images"], "pattern": None},
        batch_size=PLAN["batch_size"],
        device=PLAN["device"],
        seed=PLAN["seed"],
        code=PLAN.code(
            "calibration",
            modules=[
                attack.kind.module for attack in PLAN.attacks.values() if attack.kind
            ],
        ),
    script:
        "../scripts/calibration.py"


rule table_calibration:
    input:
        files=rules.calibration.output,
    output:
        csv="results/tables/calibration.csv",
        markdown=report(
            "results/tables/calibration.md",
            caption="../report/calibration.rst",
            category="5. Robustness",
            labels={"what": "Calibration against known truth"},
        ),
        json="results/tables/calibration.json",
    log:
        "logs/tables/calibration.log",
    benchmark:
        "benchmarks/output/tables/calibration.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        **table("calibration.table_calibration"),
    script:
        "../scripts/table.py"
