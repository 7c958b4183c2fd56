# Attacks that know the defence, what is left under the worst of them, and checks that the attacks are
# as strong as they should be.

ROBUST_NETWORKS = experiments.robust_networks(PLAN)
# The test images that are attacked.
ROBUST_SAMPLE = PLAN.sample(PLAN["experiments.robustness.images"])
# Networks that draw random numbers, each scored in several draws.
TRIES = experiments.tries(PLAN)
# Family of settings -> the defences among which one is chosen.
CANDIDATES = PLAN["experiments.settings.candidates"] or {}


rule attack:
    input:
        images="results/images/test.h5",
        learned=learned,
    output:
        dataset="results/datasets/{attack}-{model}-{defence}.h5",
    log:
        "logs/datasets/{attack}-{model}-{defence}.log",
    benchmark:
        "benchmarks/output/datasets/{attack}-{model}-{defence}.tsv"
    conda:
        "../../envs/networks.yaml"
    threads: JOBS.threads(JOBS.attack)
    resources:
        **needed(JOBS.attack),
        gpu=GPUS,
    params:
        network=described,
        entry=lambda wildcards: PLAN.attack(wildcards.attack).entry,
        sample=ROBUST_SAMPLE,
        draws=PLAN["experiments.robustness.draws"],
        batch_size=PLAN["batch_size"],
        device=PLAN["device"],
        seed=PLAN["seed"],
        code=lambda wildcards: PLAN.code(
            "attack",
            network_of(wildcards),
            modules=[PLAN.attack(wildcards.attack).kind.module],
        ),
    script:
        "../scripts/attack.py"


rule controls:
    input:
        images="results/images/test.h5",
        attacked=lambda wildcards: [
            dataset_file(dataset)
            for dataset in experiments.attacked(PLAN, network_of(wildcards))
        ],
        learned=learned,
    output:
        controls="results/controls/{model}/{defence}.h5",
    log:
        "logs/controls/{model}/{defence}.log",
    benchmark:
        "benchmarks/output/controls/{model}/{defence}.tsv"
    conda:
        "../../envs/networks.yaml"
    threads: JOBS.threads(JOBS.controls)
    resources:
        **needed(JOBS.controls),
        gpu=GPUS,
    params:
        network=described,
        norms=[attack.norm for attack in PLAN.attacks.values()],
        sample=ROBUST_SAMPLE,
        batch_size=PLAN["batch_size"],
        device=PLAN["device"],
        seed=PLAN["seed"],
        code=code("controls"),
    script:
        "../scripts/controls.py"


rule budget:
    input:
        images="results/images/test.h5",
        learned=learned,
    output:
        budget="results/budgets/{model}/{defence}.h5",
    log:
        "logs/budgets/{model}/{defence}.log",
    benchmark:
        "benchmarks/output/budgets/{model}/{defence}.tsv"
    conda:
        "../../envs/networks.yaml"
    threads: JOBS.threads(JOBS.budget)
    resources:
        **needed(JOBS.budget),
        gpu=GPUS,
    params:
        network=described,
        experiment=PLAN.protocol("robustness"),
        sample=ROBUST_SAMPLE,
        batch_size=PLAN["batch_size"],
        device=PLAN["device"],
        seed=PLAN["seed"],
        code=code("budget", "attacks.apgd"),
    script:
        "../scripts/budget.py"


rule table_robustness:
    input:
        files=scores(experiments.robustness(PLAN)),
        budgets=[f"results/budgets/{network}.h5" for network in ROBUST_NETWORKS],
        controls=[f"results/controls/{network}.h5" for network in ROBUST_NETWORKS],
        checkups=[f"results/checkups/{network}.json" for network in ROBUST_NETWORKS],
        real=[dataset_file(dataset) for dataset in experiments.real_valued(PLAN)],
    output:
        csv=["results/tables/table_robustness.csv", "results/tables/checks.csv"],
        markdown=[
            report(
                "results/tables/table_robustness.md",
                caption="../report/table_robustness.rst",
                category="5. Robustness",
                labels={"what": "Worst case under attacks"},
            ),
            report(
                "results/tables/checks.md",
                caption="../report/checks.rst",
                category="5. Robustness",
                labels={"what": "Checks of the attacks"},
            ),
        ],
        json=["results/tables/table_robustness.json", "results/tables/checks.json"],
    log:
        "logs/tables/table_robustness.log",
    benchmark:
        "benchmarks/output/tables/table_robustness.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        **table(
            "robustness.tables",
            outcomes=cells_of(experiments.robustness(PLAN)),
            bounds={
                name: (attack.norm, attack.radius)
                for name, attack in PLAN.attacks.items()
            },
            gradient_free=[
                name
                for name, attack in PLAN.attacks.items()
                if not attack.needs_gradient
            ],
        ),
        # No option: Snakemake compares no parameter that depends on input, but the input itself.
        files_of=lambda wildcards, input: {
            name: list(input[name])
            for name in ("budgets", "controls", "checkups", "real")
        },
    script:
        "../scripts/table.py"


rule figure_budget:
    input:
        budgets=[f"results/budgets/{network}.h5" for network in ROBUST_NETWORKS],
    output:
        csv="results/figures/figure_budget.csv",
        pdf="results/figures/figure_budget.pdf",
        png=figure_report("budget", "5. Robustness", "Accuracy against radius"),
    log:
        "logs/figures/figure_budget.log",
    benchmark:
        "benchmarks/output/figures/figure_budget.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        function="budget",
        code=PLAN.code("curves"),
    script:
        "../scripts/curves.py"


rule table_tries:
    input:
        files=scores(TRIES),
    output:
        csv="results/tables/table_tries.csv",
        markdown=report(
            "results/tables/table_tries.md",
            caption="../report/table_tries.rst",
            category="5. Robustness",
            labels={"what": "Random defences"},
        ),
        json="results/tables/table_tries.json",
    log:
        "logs/tables/table_tries.log",
    benchmark:
        "benchmarks/output/tables/table_tries.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        **table("tries.table_tries"),
    script:
        "../scripts/table.py"


rule figure_tries:
    input:
        scores=scores(TRIES),
    output:
        csv="results/figures/figure_tries.csv",
        pdf="results/figures/figure_tries.pdf",
        png=figure_report("tries", "5. Robustness", "Accuracy against tries"),
    log:
        "logs/figures/figure_tries.log",
    benchmark:
        "benchmarks/output/figures/figure_tries.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        function="tries",
        code=PLAN.code("curves"),
    script:
        "../scripts/curves.py"


# Settings of defences are chosen on images outside the test set.
rule tuning:
    input:
        images="results/images/fit.h5",
    output:
        dataset="results/datasets/tuning.h5",
    log:
        "logs/datasets/tuning.log",
    benchmark:
        "benchmarks/output/datasets/tuning.tsv"
    localrule: True
    conda:
        "../../envs/networks.yaml"
    params:
        limit=PLAN["experiments.settings.images"],
        seed=PLAN["seed"],
        code=PLAN.code("tuning"),
    script:
        "../scripts/tuning.py"


use rule perturbed as tuning_perturbed with:
    input:
        images="results/datasets/tuning.h5",
        perturbation="results/perturbations/{perturbation}.h5",
    output:
        dataset="results/datasets/tuning-{perturbation}.h5",
    log:
        "logs/datasets/tuning-{perturbation}.log",
    benchmark:
        "benchmarks/output/datasets/tuning-{perturbation}.tsv"


rule table_settings:
    input:
        scores=scores(experiments.settings(PLAN)),
    output:
        csv="results/tables/table_settings.csv",
        markdown=report(
            "results/tables/table_settings.md",
            caption="../report/table_settings.rst",
            category="5. Robustness",
            labels={"what": "Settings of defences"},
        ),
        json="results/tables/table_settings.json",
    log:
        "logs/tables/table_settings.log",
    benchmark:
        "benchmarks/output/tables/table_settings.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        **table(
            "tables.table_settings",
            experiments.settings(PLAN),
            candidates=CANDIDATES,
        ),
    script:
        "../scripts/table.py"


rule robustness:
    input:
        rules.table_robustness.output.csv,
        rules.figure_budget.output.pdf,
        rules.table_calibration.output.csv,
        branch(
            TRIES,
            then=[rules.table_tries.output.csv, rules.figure_tries.output.pdf],
            otherwise=[],
        ),
        branch(CANDIDATES, then=rules.table_settings.output.csv, otherwise=[]),
    localrule: True
