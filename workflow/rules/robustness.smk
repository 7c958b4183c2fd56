# Attacks that know the defence, what is left under the worst of them, and checks that the attacks are
# as strong as they should be.


rule attack:
    input:
        images="results/images/test.h5",
        state=state,
        weights=weights,
    output:
        dataset="results/datasets/{attack}-{model}-{defence}.h5",
    log:
        "logs/datasets/{attack}-{model}-{defence}.log",
    benchmark:
        "benchmarks/output/datasets/{attack}-{model}-{defence}.tsv"
    conda:
        "../../envs/networks.yaml"
    threads: 8
    resources:
        **growing(attack_need),
        gpu=GPUS,
    params:
        model_settings=settings_of("model"),
        defence_settings=settings_of("defence"),
        settings=lookup(dpath="perturbations/untargeted/{attack}", within=config),
        limit=ROBUSTNESS["images"],
        pattern=UNSEEN,
        draws=ROBUSTNESS["draws"],
        batch_size=config["batch_size"],
        device=config["device"],
        seed=config["seed"],
        code=code("attack"),
    script:
        "../scripts/attack.py"


rule controls:
    input:
        images="results/images/test.h5",
        attacked=adaptive,
        state=state,
        weights=weights,
    output:
        controls="results/controls/{model}/{defence}.h5",
    log:
        "logs/controls/{model}/{defence}.log",
    benchmark:
        "benchmarks/output/controls/{model}/{defence}.tsv"
    conda:
        "../../envs/networks.yaml"
    threads: 2
    resources:
        **growing(controls_need),
        gpu=GPUS,
    params:
        model_settings=settings_of("model"),
        defence_settings=settings_of("defence"),
        norms=[attack.get("norm", "linf") for attack in ATTACKS.values()],
        limit=ROBUSTNESS["images"],
        pattern=UNSEEN,
        batch_size=config["batch_size"],
        device=config["device"],
        seed=config["seed"],
        code=code("controls"),
    script:
        "../scripts/controls.py"


rule budget:
    input:
        images="results/images/test.h5",
        state=state,
        weights=weights,
    output:
        budget="results/budgets/{model}/{defence}.h5",
    log:
        "logs/budgets/{model}/{defence}.log",
    benchmark:
        "benchmarks/output/budgets/{model}/{defence}.tsv"
    conda:
        "../../envs/networks.yaml"
    threads: 8
    resources:
        **growing(budget_need),
        gpu=GPUS,
    params:
        model_settings=settings_of("model"),
        defence_settings=settings_of("defence"),
        settings=ROBUSTNESS,
        pattern=UNSEEN,
        batch_size=config["batch_size"],
        device=config["device"],
        seed=config["seed"],
        code=code("budget"),
    script:
        "../scripts/budget.py"


rule table_robustness:
    input:
        scores=scores(
            (dataset, model, defence)
            for model, defence in ROBUST_NETWORKS
            for dataset in ("original", *static(model), *against(model, defence))
        ),
        budgets=[
            f"results/budgets/{model}/{defence}.h5"
            for model, defence in ROBUST_NETWORKS
        ],
        controls=[
            f"results/controls/{model}/{defence}.h5"
            for model, defence in ROBUST_NETWORKS
        ],
    output:
        csv="results/tables/table_robustness.csv",
        markdown=report(
            "results/tables/table_robustness.md",
            caption="../report/table_robustness.rst",
            category="5. Robustness",
            labels={"what": "Worst case under attacks"},
        ),
        checks_csv="results/tables/checks.csv",
        checks_markdown=report(
            "results/tables/checks.md",
            caption="../report/checks.rst",
            category="5. Robustness",
            labels={"what": "Checks of the attacks"},
        ),
    log:
        "logs/tables/table_robustness.log",
    benchmark:
        "benchmarks/output/tables/table_robustness.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        bounds={name: attack["radius"] for name, attack in ATTACKS.items()},
        black_box=[
            name
            for name, attack in config["perturbations"]["untargeted"].items()
            if kind_of(name, attack) == "square"
        ],
        note=lookup(dpath="images/note", within=config, default=None),
        code=code_version("table_robustness"),
    script:
        "../scripts/table_robustness.py"


rule figure_budget:
    input:
        budgets=[
            f"results/budgets/{model}/{defence}.h5"
            for model, defence in ROBUST_NETWORKS
        ],
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
        code=code_version("figure_budget"),
    script:
        "../scripts/figure_budget.py"


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
        limit=lookup(dpath="experiments/settings/images", within=config, default=None),
        seed=config["seed"],
        code=code_version("tuning"),
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
        scores=scores(
            (dataset, model, defence)
            for model in MODELS
            for names in CANDIDATES.values()
            for defence in names
            for dataset in ("tuning", f"tuning-{universal(model)}")
        ),
    output:
        csv="results/tables/table_settings.csv",
        markdown=report(
            "results/tables/table_settings.md",
            caption="../report/table_settings.rst",
            category="5. Robustness",
            labels={"what": "Settings of defences"},
        ),
    log:
        "logs/tables/table_settings.log",
    benchmark:
        "benchmarks/output/tables/table_settings.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        candidates=CANDIDATES,
        note=lookup(dpath="images/note", within=config, default=None),
        code=code_version("table_settings"),
    script:
        "../scripts/table_settings.py"


rule robustness:
    input:
        rules.table_robustness.output.csv,
        rules.figure_budget.output.pdf,
        branch(CANDIDATES, then=rules.table_settings.output.csv, otherwise=[]),
    localrule: True
