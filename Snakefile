# Does a preprocessing defence make a pretrained image classifier robust?
#
# The workflow is in workflow/Snakefile, where modules from git and Snakemake's catalogue find it.
include: "workflow/Snakefile"


# A rule that is included is no default target.
use rule all as everything with:
    default_target: True
