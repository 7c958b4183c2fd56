# One page to read first: the answer, every table and figure, and how they were made. Times and
# machines differ from run to run, so this is the one result whose bytes do, too. The answer alone is
# a file for programs.


def reported(*targets):
    """What collecting targets have for the report: files, and what their marks say of them."""
    wanted = set()
    for target in targets:
        for item in target.input:
            item = item({}) if callable(item) else item
            wanted.update([item] if isinstance(item, str) else item)
    found = [
        # The file itself, which knows whether it has got a module's prefix.
        (
            data_of(file, each.output),
            dict(
                name=" ".join(mark.labels["what"].split()),
                group=mark.category,
                text=workflow.sourcecache.open(mark.caption).read(),
                params=plain(each.params),
            ),
        )
        for each in workflow.rules
        if wanted.intersection(map(str, each.output))
        for file in each.output
        if (mark := getattr(file, "flags", {}).get("report"))
    ]
    return sorted(found, key=lambda pair: pair[1]["group"])


def data_of(file, outputs):
    """The JSON beside a table's Markdown; a picture is its own data."""
    data = str(file).removesuffix(".md") + ".json"
    return next((each for each in outputs if str(each) == data), file)


def plain(params):
    """Those of a rule's parameters that a caption can print."""
    kinds = (str, int, float, type(None))
    return {name: value for name, value in params.items() if isinstance(value, kinds)}


def pattern(path):
    """A folder that has all files of a pattern, and the regular expression of their paths."""
    folder = str(path).partition("{")[0].rpartition("/")[0]
    return {"folder": folder, "regex": regex_from_filepattern(str(path))}


# Whatever is marked with report(...) and belongs to one of these is on the page.
SHOWN_IN_REPORT = reported(rules.tables, rules.figures, rules.robustness)


rule report:
    input:
        template=workflow.source_path("../report/page.html"),
        robustness=rules.table_robustness.output.csv,
        checks=rules.table_robustness.output.checks_csv,
        calibration=rules.table_calibration.output.csv,
        replication=rules.replication.output.csv,
        certified=[rules.table_certified.output.csv] if SMOOTHING else [],
        # A function: the marks have been read, and are not for these files.
        shown=lambda wildcards: [file for file, _ in SHOWN_IN_REPORT],
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
            settings=config,
            versions={"python": python_version(), "snakemake": version("snakemake")},
        ),
        logs={each.name: pattern(each.log[0]) for each in workflow.rules if each.log},
        code=PLAN.code("report"),
    script:
        "../scripts/report.py"
