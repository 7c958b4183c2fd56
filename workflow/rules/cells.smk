# The cells of the matrix: one network on one data set. Every cell is a target by its file's name. Those
# of a network that the same rules need are scored in one job, which builds the network once.

# Score files -> the rules that need them. The rules above name them.
NEEDED_BY = {}
for EACH in workflow.rules:
    for FILE in EACH.input:
        if not callable(FILE):
            NEEDED_BY.setdefault(str(FILE), set()).add(EACH.name)
# Not where single scores are asked for, which Snakemake looks at after this file, or where something is
# set for the rule score: neither means more than it says.
PROFILE = workflow.resource_settings
SINGLE = workflow.is_main_process and any(map(SCORE_FILE.search, sys.argv))
TOGETHER = (
    PLAN["scores_per_job"] == "several"
    and SHARDS == 1
    and not SINGLE
    and "score" not in {*PROFILE.overwrite_resources, *PROFILE.overwrite_threads}
)

for BATCH in [*(score_batches(NEEDED_BY) if TOGETHER else []), ANY_CELL]:

    rule:
        name:
            BATCH.name
        input:
            images=[dataset_file(dataset) for dataset in BATCH.datasets],
            learned=lambda wildcards, batch=BATCH: PLAN.learned_files(
                batch.network_of(wildcards)
            ),
        output:
            scores=[sharded(cell.path) for cell in BATCH.cells],
        log:
            part_of(f"logs/scores/{BATCH.folder}.log"),
        benchmark:
            part_of(f"benchmarks/output/scores/{BATCH.folder}.tsv")
        conda:
            "../../envs/networks.yaml"
        threads: JOBS.threads(JOBS.score)
        resources:
            **needed(JOBS.score),
            gpu=GPUS,
        params:
            network=lambda wildcards, input, batch=BATCH: PLAN.describe(
                batch.network_of(wildcards), input.learned
            ),
            datasets=lambda wildcards, batch=BATCH: batch.names_of(wildcards),
            draws=PLAN["experiments.draws"],
            batch_size=PLAN["batch_size"],
            device=PLAN["device"],
            seed=PLAN["seed"],
            code=lambda wildcards, batch=BATCH: PLAN.code(
                "score", batch.network_of(wildcards)
            ),
        script:
            "../scripts/score.py"
