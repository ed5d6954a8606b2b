"""Runs that begin once others are done, on a real Slurm: these fail, are requeued, go on as another job."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dnw.runs import ledger
from dnw.runs.folder import Run
from slurm.cluster import Cluster
from slurm.events import ROOT, all_logs, finishes, job_of
from slurm.job import fields, state, until

pytestmark = pytest.mark.xdist_group("slurm runs")
WORDS = ["+exp=demo_dnw", "nproc=1", "cluster.partition=low", "batch=16", "micro_batch=8", "data.workers=0"]
LATER = "cluster.additional_parameters={begin: now+9days}"


class Typing:
    """Types commands on the login node."""

    def __init__(self, cluster: Cluster, shards: Path, here: Path) -> None:
        self.cluster, self.shards, self.here = cluster, shards, here

    def __call__(self, *words: str, script: str = "slurm.py") -> subprocess.CompletedProcess[str]:
        """Submit, with more words."""
        given = [*WORDS, f"data.dir={self.shards}", *words] if script == "slurm.py" else words
        return subprocess.run(
            [sys.executable, str(ROOT / "launch" / script), *given],
            cwd=self.here,
            env=self.cluster.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def run(self, *words: str) -> Run:
        """The run that is submitted."""
        before = set(self.here.glob("runs/demo_dnw/*"))
        done = self(*words)
        assert done.returncode == 0, done.stderr
        (made,) = set(self.here.glob("runs/demo_dnw/*")) - before
        return Run(made)

    def status(self, run: Run) -> dict[str, Any]:
        """What status says of a run."""
        done = self("status", "--json", run.name, script="runs.py")
        (row,) = json.loads(done.stdout)
        return dict(row)


@pytest.fixture
def typed(cluster: Cluster, few_images: Path, tmp_path: Path) -> Iterator[Typing]:
    yield Typing(cluster, few_images, tmp_path)
    cluster.run("scancel", "--name=dnw-demo_dnw")
    until(lambda: not cluster.run("squeue", "--noheader", "--name=dnw-demo_dnw"))


def test_one_that_will_not_be_done(cluster: Cluster, typed: Typing) -> None:
    """It is told in status and in the ledger, and nothing waits for ever."""
    first = typed.run("seed=1", LATER)
    told = typed.here / "told.jsonl"
    second = typed.run("seed=2", "after=seed=1", f'notify.command="cat >> {told}"')
    third = typed.run("seed=3", 'after=["seed=2","seed=1"]')
    assert fields(cluster, job_of(third))["Dependency"].count("afterany") == 2
    row = typed.status(second)
    assert (row["state"], row["reason"]) == ("queued", f"after {first.name}")
    assert f"queued, job {job_of(second)} on slurm" in typed("seed=2", "after=seed=1").stdout
    cluster.run("scancel", job_of(first))
    until(lambda: state(cluster, job_of(third)) == "FAILED")
    said = f"{first.name} was stopped (cancelled); once that is mended, type the command of both again"
    (attempt,) = ledger.read(second)
    assert attempt.end is not None
    assert (attempt.reason, attempt.end["detail"]) == ("dependency", said), all_logs(second)
    (notice,) = map(json.loads, told.read_text().splitlines())
    assert (notice["event"], notice["run"], notice["detail"]) == ("not begun", second.name, said)
    row = typed.status(second)
    assert (row["state"], row["ended"]) == ("failed", f"dependency: {said}")
    again = typed("seed=2", "after=seed=1")
    assert again.returncode == 2
    assert again.stderr == (
        f"after: {first.name} was stopped (cancelled); type its command again, then this one\n"
    )


def test_one_that_goes_on_as_another_job(cluster: Cluster, typed: Typing) -> None:
    """What waits for it waits again, for that job, without an attempt; then it begins, once."""
    words = ["seed=4", "steps=2"]
    first = typed.run(*words, LATER)
    second = typed.run("seed=5", "steps=2", "after=seed=4")
    cluster.run("scontrol", "hold", job_of(second))
    cluster.run("scancel", job_of(first))
    until(lambda: state(cluster, job_of(first)) == "CANCELLED")
    assert typed(*words, LATER).returncode == 0
    cluster.run("scontrol", "release", job_of(second))
    until(lambda: job_of(first) in fields(cluster, job_of(second))["Dependency"])
    assert (typed.status(second)["state"], ledger.read(second)) == ("queued", [])
    cluster.run("scontrol", "update", f"JobId={job_of(first)}", "StartTime=now")
    finishes(second)
    (attempt,) = ledger.read(second)
    assert attempt.claim is not None
    assert attempt.claim["restart"] >= 1
    assert attempt.claim["time"] >= first.result.stat().st_mtime
