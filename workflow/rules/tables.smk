# The paper's tables, and what they leave out: scores joined.

PAIRS = {"pairs": PLAN["experiments.cross_tests"]}
RATIOS = {
    "ratios": {
        defence: PLAN["defences"][defence]["ratio"]
        for defence in PLAN["experiments.downsampling"]
    }
}
# Who plays which part in the paper's claims.
CAST = {
    "universal": {model: PLAN.universal(model).name for model in MODELS},
    "parts": PLAN.parts,
    "trained": {model: experiments.taught_models(PLAN, model) for model in MODELS},
}


rule table_1:
    input:
        scores=scores(experiments.table_1(PLAN)),
    output:
        csv="results/tables/table_1.csv",
        markdown=report(
            "results/tables/table_1.md",
            caption="../report/table_1.rst",
            category="2. Universal perturbations",
            labels={"what": "Table 1: original and universally perturbed images"},
        ),
        json="results/tables/table_1.json",
    log:
        "logs/tables/table_1.log",
    benchmark:
        "benchmarks/output/tables/table_1.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        **table("tables.table_1", experiments.table_1(PLAN)),
    script:
        "../scripts/table.py"


rule table_2:
    input:
        scores=scores(experiments.table_2(PLAN)),
    output:
        csv="results/tables/table_2.csv",
        markdown=report(
            "results/tables/table_2.md",
            caption="../report/table_2.rst",
            category="3. Gradient perturbations",
            labels={"what": "Table 2: cross-testing"},
        ),
        json="results/tables/table_2.json",
    log:
        "logs/tables/table_2.log",
    benchmark:
        "benchmarks/output/tables/table_2.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        **table("tables.table_2", experiments.table_2(PLAN), **PAIRS),
    script:
        "../scripts/table.py"


rule table_3:
    input:
        scores=scores(experiments.table_3(PLAN)),
    output:
        csv="results/tables/table_3.csv",
        markdown=report(
            "results/tables/table_3.md",
            caption="../report/table_3.rst",
            category="2. Universal perturbations",
            labels={"what": "Table 3: downsampling"},
        ),
        json="results/tables/table_3.json",
    log:
        "logs/tables/table_3.log",
    benchmark:
        "benchmarks/output/tables/table_3.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        **table("tables.table_3", experiments.table_3(PLAN), **RATIOS),
    script:
        "../scripts/table.py"


rule table_comparisons:
    input:
        scores=scores(experiments.comparisons(PLAN)),
    output:
        csv="results/tables/table_comparisons.csv",
        markdown=report(
            "results/tables/table_comparisons.md",
            caption="../report/table_comparisons.rst",
            category="4. Replication",
            labels={"what": "Comparisons on the same photographs"},
        ),
        json="results/tables/table_comparisons.json",
    log:
        "logs/tables/table_comparisons.log",
    benchmark:
        "benchmarks/output/tables/table_comparisons.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        **table("tables.comparisons", experiments.comparisons(PLAN), **PAIRS),
    script:
        "../scripts/table.py"


rule replication:
    input:
        scores=scores(experiments.replication(PLAN)),
    output:
        csv="results/tables/replication.csv",
        markdown=report(
            "results/tables/replication.md",
            caption="../report/replication.rst",
            category="4. Replication",
            labels={"what": "Claims and numbers of the paper"},
        ),
        json="results/tables/replication.json",
    log:
        "logs/tables/replication.log",
    benchmark:
        "benchmarks/output/tables/replication.tsv"
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        **table("replication.replication", experiments.replication(PLAN), **CAST),
    script:
        "../scripts/table.py"


# The same tables from those images alone that pretrained networks have not seen.


use rule table_1 as table_1_unseen with:
    output:
        csv="results/tables/unseen/table_1.csv",
        markdown="results/tables/unseen/table_1.md",
        json="results/tables/unseen/table_1.json",
    log:
        "logs/tables/unseen/table_1.log",
    benchmark:
        "benchmarks/output/tables/unseen/table_1.tsv"
    params:
        **table("tables.table_1", experiments.table_1(PLAN), pattern=UNSEEN, note=None),


use rule table_2 as table_2_unseen with:
    output:
        csv="results/tables/unseen/table_2.csv",
        markdown="results/tables/unseen/table_2.md",
        json="results/tables/unseen/table_2.json",
    log:
        "logs/tables/unseen/table_2.log",
    benchmark:
        "benchmarks/output/tables/unseen/table_2.tsv"
    params:
        **table(
            "tables.table_2",
            experiments.table_2(PLAN),
            pattern=UNSEEN,
            note=None,
            **PAIRS,
        ),


use rule table_3 as table_3_unseen with:
    output:
        csv="results/tables/unseen/table_3.csv",
        markdown="results/tables/unseen/table_3.md",
        json="results/tables/unseen/table_3.json",
    log:
        "logs/tables/unseen/table_3.log",
    benchmark:
        "benchmarks/output/tables/unseen/table_3.tsv"
    params:
        **table(
            "tables.table_3",
            experiments.table_3(PLAN),
            pattern=UNSEEN,
            note=None,
            **RATIOS,
        ),


use rule table_comparisons as table_comparisons_unseen with:
    output:
        csv="results/tables/unseen/table_comparisons.csv",
        markdown="results/tables/unseen/table_comparisons.md",
        json="results/tables/unseen/table_comparisons.json",
    log:
        "logs/tables/unseen/table_comparisons.log",
    benchmark:
        "benchmarks/output/tables/unseen/table_comparisons.tsv"
    params:
        **table(
            "tables.comparisons",
            experiments.comparisons(PLAN),
            pattern=UNSEEN,
            note=None,
            **PAIRS,
        ),


use rule replication as replication_unseen with:
    output:
        csv="results/tables/unseen/replication.csv",
        markdown="results/tables/unseen/replication.md",
        json="results/tables/unseen/replication.json",
    log:
        "logs/tables/unseen/replication.log",
    benchmark:
        "benchmarks/output/tables/unseen/replication.tsv"
    params:
        **table(
            "replication.replication",
            experiments.replication(PLAN),
            pattern=UNSEEN,
            note=None,
            **CAST,
        ),


# What is made of all images, and of the unseen ones.
TABLES = [
    *(f"table_{name}" for name in (1, 2, 3, "comparisons")),
    "replication",
    *(["table_transfer"] if PLAN["experiments.transfer"] else []),
]


rule tables:
    input:
        expand("results/tables/{table}.csv", table=TABLES),
        "results/tables/vector_space.csv",
        branch(
            PLAN["experiments.smoothing"],
            then="results/tables/table_certified.csv",
            otherwise=[],
        ),
        branch(
            PLAN["experiments.preventive"],
            then="results/tables/table_preventive.csv",
            otherwise=[],
        ),
        branch(
            UNSEEN,
            then=expand("results/tables/unseen/{table}.csv", table=TABLES),
            otherwise=[],
        ),
    localrule: True
