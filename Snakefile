# Does a preprocessing defence make a pretrained image classifier robust?
#
# A network is a model behind a defence, a data set is the test images, original or attacked, and a
# score is one network on one data set. Tables and figures join scores.
import sys
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from snakemake.exceptions import WorkflowError
from snakemake.io import regex_from_filepattern
from snakemake.utils import min_version

# Where Snakemake has scripts find the library, too. An installed one comes first, and is the only
# one where this workflow is a module of another one and comes from git.
sys.path.append(
    f"{workflow.current_basedir.get_path_or_uri(secret_free=True)}/workflow/scripts"
)

from advrob.errors import UserError
from advrob.files import stale
from advrob.images.contents import fingerprint
from advrob.job import runs
from advrob.plan import experiments
from advrob.plan.errors import ConfigurationError
from advrob.plan.jobs import Jobs
from advrob.plan.names import (
    DataSet,
    Network,
    certificate_file,
    dataset_file,
)
from advrob.plan.plan import Plan
from advrob.plan.repeated import refuse_repeated_keys

min_version("9.0")

# The same command goes on after a run that was killed, and what Snakemake has no record of is current
# only if it says so itself. A workflow that imports this one does as it likes.
ALONE = workflow.is_main_process and workflow.modifier.is_main_snakefile()
if ALONE:
    runs.begin()


# The working folder's configuration, or the one that comes with the workflow.
CONFIGURATION = "config.yaml"
if not Path(CONFIGURATION).exists():
    CONFIGURATION = workflow.source_path("config.yaml")


configfile: CONFIGURATION


# The first page of `snakemake --report`.
report: "workflow/report/workflow.rst"


try:
    refuse_repeated_keys(workflow.configfiles)
    PLAN = Plan(config)
    if ALONE:
        stale.check(PLAN, stale.unrecorded())
except (ConfigurationError, UserError) as error:
    raise WorkflowError(str(error)) from None
# With defaults filled in, and not in place: a workflow that imports this one may read it again.
config = PLAN.config

MODELS = PLAN.models


# How many jobs share the images of a score or an attack.
scattergather:
    shards=PLAN["shards"],


wildcard_constraints:
    model="[a-z0-9_]+",
    defence="[a-z0-9_]+",
    published="[a-z0-9_]+",
    attack="|".join(PLAN["perturbations.untargeted"]),
    perturbation="(universal|published)-[a-z0-9_-]+",
    dataset="[a-z0-9_-]+",


include: "workflow/rules/common.smk"
include: "workflow/rules/images.smk"
include: "workflow/rules/defences.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/perturbations.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/shards.smk"
include: "workflow/rules/checks.smk"
include: "workflow/rules/robustness.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/smoothing.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.robustness.input,
        rules.report.output,
    localrule: True


onstart:
    runs.start(local=workflow.local_exec)


onsuccess:
    # Printed where the run has made it, and not where, say, one figure was asked for.
    if any(job.rule.name == "report" for job in workflow.dag.jobs):
        page = Path("results/report.html").resolve()
        print(f"Read {page} first: it has the answer and everything else.")
