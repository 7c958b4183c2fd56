# The workflow, for `snakemake` typed in this folder. Snakemake's catalogue expects it in workflow/.
include: "workflow/Snakefile"


# What is included has no default target.
use rule all as everything with:
    default_target: True
