"""The map: where files lie, the rules of each stage, and the targets a user asks for.

snakemake --cores 8 results/biovid/report.html      the whole experiment of config/biovid.yaml
snakemake --cores 8 results/biovid/folds/fold_2.json      one fold of it
snakemake --cores 8 results/biovid/student/student.json   the student that ships, trained on all subjects
"""

import sys
from functools import cache
from pathlib import Path
from shlex import quote

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)

from pkdot import jobs, warm
from pkdot.config_files import mentions
from pkdot.datasets import changes
from pkdot.datasets.base import register as datasets
from pkdot.errors import PkdotError
from pkdot.experiment import load, require_foreign
from pkdot.layout import (
    ABLATION,
    ALL,
    CARD,
    MASKS,
    ROOTS,
    SUMS,
    TNET,
    WEIGHTS,
    Layout,
    fold_name,
)
from pkdot.simulation.base import register as preparations
from pkdot.stages import STAGES

# Jobs call this checkout and this interpreter, whatever else is installed.
shell.prefix(
    f"set -euo pipefail; export PYTHONPATH={quote(workflow.basedir)} PKDOT_LOCK=.snakemake/pkdot.lock; "
    f'pkdot() (exec {quote(sys.executable)} -IS {quote(warm.__file__)} "$@"); '
)

FILES = Layout.of("{experiment}")  # patterns of all that an experiment writes
LOGS = "logs/{experiment}"


wildcard_constraints:
    experiment=r"[A-Za-z0-9_-]+",
    modality=r"[a-z][a-z0-9_]*",
    method=r"[a-z][a-z0-9_]*",
    fold=r"\d+|all",
    shard=r"\d+",
    contest=r"(ablation/)?",
    cell=r"labels_[0-9.e-]+_noise_[0-9.e-]+",
    arm=r"(controls/[a-z_]+/)?",
    tnet=r"tnet_[a-z0-9_]+",


rule biovid:
    """The default: what a bare `snakemake` makes."""
    input:
        Layout.of("biovid").report,
        Layout.of("biovid").tracking,


include: "workflow/rules/common.smk"
include: "workflow/rules/ingest.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/splits.smk"
include: "workflow/rules/encoders.smk"
include: "workflow/rules/teacher.smk"
include: "workflow/rules/distill.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/privilege.smk"
include: "workflow/rules/missing.smk"
include: "workflow/rules/refit.smk"
include: "workflow/rules/track.smk"
include: "workflow/rules/folder.smk"
