"""A run that diverges under Slurm ends, whatever it may be started again for, and says so everywhere."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from worker import ROOT

from dnw.runs import ledger
from dnw.runs.divergence import DIVERGED
from slurm.cluster import Cluster
from slurm.events import all_logs, job_of, the_run
from slurm.job import accounts, until

pytestmark = pytest.mark.xdist_group("slurm commands")
WORDS = ["+exp=demo_dnw", "nodes=2", "nproc=1", "cluster=slurm", "cluster.partition=low"]
QUICK = ["batch=16", "micro_batch=8", "steps=8", "data.workers=0", "threads=1", "log.every_steps=2"]
DIVERGING = ["checkpoint.every_steps=1", "optim.lr=1e30", "error_retries=3"]


def typed(cluster: Cluster, here: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Type a command of launch/ on the login node."""
    return subprocess.run(
        [sys.executable, str(ROOT / "launch" / script), *words],
        cwd=here,
        env=cluster.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_run_that_diverges_is_not_started_again(cluster: Cluster, few_images: Path, tmp_path: Path) -> None:
    """With exact sums; tests/integration/test_divergence.py has the others."""
    line = ["slurm.py", *WORDS, *QUICK, *DIVERGING, f"data.dir={few_images}", "reduce=exact"]
    submitted = typed(cluster, tmp_path, *line)
    assert submitted.returncode == 0, submitted.stderr
    run = the_run(tmp_path)
    job = job_of(run)
    until(lambda: "PENDING" not in (states := accounts(cluster, job)) and states[-1:] == ["FAILED"], 300)
    assert [attempt.reason for attempt in ledger.read(run)] == ["diverged"], all_logs(run)
    assert accounts(cluster, job) == ["FAILED"]  # once: it was not requeued
    assert not run.result.exists()
    (row,) = json.loads(typed(cluster, tmp_path, "runs.py", "status", "--json").stdout)
    assert (row["state"], row["attempts"]) == ("diverged", 1)
    again = typed(cluster, tmp_path, *line)
    assert (again.returncode, again.stdout) == (DIVERGED, "")
    assert "resume_diverged=true" in again.stderr
    assert len(ledger.read(run)) == 1
