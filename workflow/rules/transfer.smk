# Universal perturbations made against one model and tested on others, where these are configured.

if PLAN["experiments.transfer"]:

    rule table_transfer:
        input:
            scores=scores(experiments.transfer(PLAN)),
        output:
            csv="results/tables/table_transfer.csv",
            markdown=report(
                "results/tables/table_transfer.md",
                caption="../report/table_transfer.rst",
                category="2. Universal perturbations",
                labels={"what": "Transfer between models"},
            ),
            json="results/tables/table_transfer.json",
        log:
            "logs/tables/table_transfer.log",
        benchmark:
            "benchmarks/output/tables/table_transfer.tsv"
        localrule: True
        conda:
            "../../envs/tables.yaml"
        params:
            **table("transfer.table_transfer", experiments.transfer(PLAN)),
        script:
            "../scripts/table.py"

    use rule table_transfer as table_transfer_unseen with:
        output:
            csv="results/tables/unseen/table_transfer.csv",
            markdown="results/tables/unseen/table_transfer.md",
            json="results/tables/unseen/table_transfer.json",
        log:
            "logs/tables/unseen/table_transfer.log",
        benchmark:
            "benchmarks/output/tables/unseen/table_transfer.tsv"
        params:
            **table(
                "transfer.table_transfer",
                experiments.transfer(PLAN),
                pattern=UNSEEN,
                note=None,
            ),

    rule figure_transfer:
        input:
            scores=scores(experiments.transfer(PLAN)),
        output:
            csv="results/figures/figure_transfer.csv",
            pdf="results/figures/figure_transfer.pdf",
            png=figure_report(
                "transfer", "2. Universal perturbations", "Transfer between models"
            ),
        log:
            "logs/figures/figure_transfer.log",
        benchmark:
            "benchmarks/output/figures/figure_transfer.tsv"
        localrule: True
        conda:
            "../../envs/tables.yaml"
        params:
            function="transfer",
            code=PLAN.code("curves"),
        script:
            "../scripts/curves.py"
