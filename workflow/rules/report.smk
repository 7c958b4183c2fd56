# One page to read first: the answer, every table and figure, and how they were made. Times and
# machines differ from run to run, so this is the only result whose bytes differ, too. The answer alone
# is a file for programs.


include: "marked.smk"


# Whatever is marked with report(...) and belongs to one of these is on the page.
SHOWN_IN_REPORT = reported(rules.tables, rules.figures, rules.robustness)


# Rules -> where their logs are. Jobs that make several scores count as scores.
LOGS = {}
for EACH in workflow.rules:
    if EACH.log:
        NAME = "score" if "/scores/together/" in EACH.log[0] else EACH.name
        LOGS.setdefault(NAME, []).append(pattern(EACH.log[0]))


rule report:
    input:
        template=workflow.source_path("../report/page.html"),
        # Read with the library that it is part of; here so that an edit counts.
        style=workflow.source_path("../scripts/advrob/report/style.css"),
        robustness=rules.table_robustness.output.csv[0],
        checks=rules.table_robustness.output.csv[1],
        calibration=rules.table_calibration.output.csv,
        replication=[rules.replication.output.csv],
        certified=[rules.table_certified.output.csv] if SMOOTHING else [],
        # A function: the marks have been read, and are not for these files.
        files=lambda wildcards: [file for file, _ in SHOWN_IN_REPORT],
    output:
        page="results/report.html",
        answer="results/answer.json",
    log:
        "logs/report.log",
    benchmark:
        "benchmarks/output/report.tsv"
    localrule: True
    conda:
        "../../envs/networks.yaml"
    params:
        entries=[entry for _, entry in SHOWN_IN_REPORT],
        content=dict(
            main_table="tables-table_1",
            models=MODELS,
            note=NOTE,
            configuration=config,
            versions={"python": python_version(), "snakemake": version("snakemake")},
        ),
        logs=LOGS,
        code=PLAN.code("report"),
    script:
        "../scripts/report.py"


# The same about robustness alone, in minutes: nothing is trained or certified for it.
SHOWN_ON_PAGE = reported(rules.table_1, rules.robustness)


use rule report as page with:
    input:
        template=workflow.source_path("../report/page.html"),
        style=workflow.source_path("../scripts/advrob/report/style.css"),
        robustness=rules.table_robustness.output.csv[0],
        checks=rules.table_robustness.output.csv[1],
        calibration=rules.table_calibration.output.csv,
        replication=[],
        certified=[],
        files=lambda wildcards: [file for file, _ in SHOWN_ON_PAGE],
    output:
        page="results/robustness.html",
        answer="results/robustness.json",
    log:
        "logs/page.log",
    benchmark:
        "benchmarks/output/page.tsv"
    params:
        entries=[entry for _, entry in SHOWN_ON_PAGE],
        content=rules.report.params.content,
        logs=rules.report.params.logs,
        code=PLAN.code("report"),
