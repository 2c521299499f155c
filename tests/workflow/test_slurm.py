"""The workflow through a real Slurm."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from synthetic import REPO

from tests.workflow.conftest import TARGET, call, metrics, snakemake

SCRIPT = REPO / "tests/workflow/slurm.sh"


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A Slurm of one node; CI installs it, and other machines may (tests/workflow/slurm.sh install)."""
    if os.geteuid() or not shutil.which("slurmctld") or not shutil.which("munged"):
        pytest.skip("needs root and slurmctld, slurmd, slurm-client, munge")
    if Path("/etc/slurm/slurm.conf").exists():
        pytest.skip("this machine has a Slurm of its own")
    folder = tmp_path_factory.mktemp("slurm")
    for own in (folder, *folder.parents):
        if Path(tempfile.gettempdir()) not in own.parents:
            break
        own.chmod(0o755)  # its daemons are of other users
    try:
        subprocess.run([SCRIPT, "start", folder], check=True, stdout=subprocess.DEVNULL)
        yield folder
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=True)


def test_the_same_results_through_slurm(slurm, finished, reproduced):
    shutil.rmtree(finished / "results")
    shutil.rmtree(finished / "data/processed")
    parts = ("--group-components", "students=2", "scores=10")  # a group asks for the processors of all its jobs
    output = call(finished, "snakemake", TARGET, "--workflow-profile", "slurm", *parts)
    assert metrics(finished) == metrics(reproduced)
    submitted = output.count("submitted with SLURM jobid")
    assert 0 < submitted < 17, "the short jobs share Slurm jobs, or are local"
    log = (slurm / "slurmctld.log").read_text()
    assert log.count("_slurm_rpc_submit_batch_job") == submitted
    assert "Nothing to be done" in snakemake(finished)
    requested = call(finished, "scontrol", "show", "jobs")
    assert requested.count("JobState=COMPLETED") == submitted
    assert requested.count("gpu:1") == 4, "the encoders, and they alone, ask for a GPU"
