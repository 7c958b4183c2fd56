# Does a preprocessing defence make a pretrained image classifier robust?
#
# The workflow is in workflow/Snakefile, where modules from git and Snakemake's catalogue find it.
include: "workflow/Snakefile"


# No rule of a file that is included is the default target.
rule everything:
    default_target: True
    input:
        rules.all.input,
    localrule: True
