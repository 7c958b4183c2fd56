# One page to read first: what holds, every table and figure, and how they were made. Times and
# machines differ from run to run, so this is the one result whose bytes do, too.

# Whatever is marked with report(...) and belongs to one of these is on the page.
SHOWN_IN_REPORT = reported(rules.tables, rules.figures, rules.robustness)


rule report:
    input:
        template=workflow.source_path("../report/page.html"),
        robustness=rules.table_robustness.output.csv,
        replication=rules.replication.output.csv,
        files=[file for file, _ in SHOWN_IN_REPORT],
    output:
        page="results/report.html",
    log:
        "logs/report.log",
    benchmark:
        "benchmarks/output/report.tsv"
    localrule: True
    conda:
        "../../envs/networks.yaml"
    params:
        entries=[entry for _, entry in SHOWN_IN_REPORT],
        main_table="tables-table_1",
        models=MODELS,
        note=lookup(dpath="images/note", within=config, default=None),
        settings=config,
        versions={"python": python_version(), "snakemake": version("snakemake")},
        jobs=jobs_files(),
        code=code_version("report"),
    script:
        "../scripts/report.py"
