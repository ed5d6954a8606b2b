"""Runs that share a job of a real Slurm: one diverges, one is cancelled, all are preempted; two go on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dnw import config
from dnw.runs import ledger
from dnw.runs.folder import Run
from launch.pack.marks import Marks
from slurm import events
from slurm.cluster import Cluster
from slurm.events import ROOT, all_logs, assert_same, finishes, is_training, job_of, steps, typed
from slurm.job import fields, state, until

pytestmark = pytest.mark.xdist_group("slurm runs")
ONE_EACH = ["nodes=1", "nproc=1", "steps=100"]
RATES = ("0.05", "0.1", "0.2", "1e30")  # the last one diverges


def runs_py(cluster: Cluster, here: Path, *words: str) -> str:
    line = [sys.executable, str(ROOT / "launch" / "runs.py"), *words]
    done = subprocess.run(
        line, cwd=here, env=cluster.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def states(cluster: Cluster, here: Path) -> dict[str, Any]:
    return {row["run"]: row["state"] for row in json.loads(runs_py(cluster, here, "status", "--json"))}


def by_rate(here: Path) -> list[Run]:
    """The runs of a folder, in the order of RATES."""
    found = [Run(folder) for folder in (here / "runs" / "demo_dnw").iterdir()]
    return sorted(found, key=lambda run: config.load(run.config).optim.lr)


def test_four_runs_in_one_job(cluster: Cluster, few_images: Path, tmp_path: Path) -> None:
    def sweep(*rates: str, pack: str = "pack=4") -> str:
        return typed(cluster, few_images, tmp_path, "-m", f"optim.lr={','.join(rates)}", *ONE_EACH, pack)

    assert "pack=4: 4 runs in one job" in sweep(*RATES)
    first, second, third, bad = by_rate(tmp_path)
    job = job_of(first)
    assert {job_of(run) for run in (second, third, bad)} == {job}
    cpus = int(fields(cluster, job)["NumCPUs"])
    assert cpus == 4

    until(lambda: ledger.last(bad) and ledger.read(bad)[0].reason == "diverged", timeout_s=180)
    until(lambda: all(is_training(run) and steps(run) >= 3 for run in (first, second, third)), timeout_s=180)
    runs_py(cluster, tmp_path, "cancel", third.name)
    found = states(cluster, tmp_path)
    assert [found[run.name] for run in (first, second, third, bad)] == [
        "running", "running", "stopped", "diverged"
    ]  # fmt: skip
    assert state(cluster, job) == "RUNNING"
    events.preempted(cluster, first)
    finishes(first, timeout_s=300)
    finishes(second, timeout_s=300)
    until(lambda: state(cluster, job) == "COMPLETED")

    for run in (first, second):
        attempts = [(one.reason, one.cause) for one in ledger.read(run)]
        assert attempts == [("stopped", "preempted"), ("done", "done")], all_logs(run)
    assert [one.reason for one in ledger.read(bad)] == ["diverged"]
    (alone,) = ledger.read(third)
    assert (alone.reason, alone.cause) == ("stopped", "cancelled")
    ends = Marks(Path(json.loads(first.launch.read_text())["folder"]))
    assert [ends.of(run) for run in (first, second, third, bad)] == ["ended", "ended", "cancelled", "ended"]

    typed(cluster, few_images, tmp_path, f"optim.lr={RATES[2]}", *ONE_EACH)  # goes on alone
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    both = f"optim.lr={RATES[0]},{RATES[2]}"
    typed(cluster, few_images, undisturbed, "-m", both, *ONE_EACH, "cluster=local")
    for run in (first, third):
        finishes(run, timeout_s=300)
        other = Run(undisturbed / "runs" / run.name)
        finishes(other, timeout_s=300)
        assert_same(run, other)
